import CetTensor
import Glibc

/// TensorMap arithmetic of two arguments with NumPy broadcasting.
public struct Binary: SeparablePrimitive {
  public enum Function: String, Hashable, Sendable, CaseIterable {
    case add, subtract, multiply, divide, power, maximum, minimum
    /// x > 0 ? g : 0, the derivative of relu and of every clipping; linear in g, constant in x.
    case gate
    /// Remainder with the sign of the divisor (ONNX Mod) and of the dividend (fmod).
    case modulo, remainder
  }
  public let function: Function

  public init(_ function: Function) { self.function = function }

  public var name: String { function.rawValue }

  public func inputAxes(forOutput axis: Int, of call: Call) -> [Int?]? { broadcastAxes(forOutput: axis, of: call) }

  public func infer(_ inputs: [TensorType]) throws(CetError) -> [TensorType] {
    let (a, b) = (inputs[0], inputs[1])
    guard a.element == b.element else {
      throw CetError(.shapeMismatch, "\(name): element types differ, \(a.element) and \(b.element)")
    }
    guard let shape = broadcastShape(a.shape, b.shape) else {
      throw CetError(.shapeMismatch, "\(name): shapes \(a.shape.shapeText) and \(b.shape.shapeText) do not broadcast")
    }
    return [TensorType(a.element, shape)]
  }

  public func run(_ inputs: [Tensor], _ context: ComputeContext) throws(CetError) -> [Tensor] {
    let (a, b) = (inputs[0], inputs[1])
    switch a.type {
    case .float32:
      if let kernel = vectorKernel { return [try TensorMap.vector(a, b, context, kernel)] }
      if function == .gate { return [try TensorMap.gate(a, b, context)] }
      return [try floating(a, b, context, Float.self, pow: Glibc.powf, fmod: Glibc.fmodf)]
    case .float64: return [try floating(a, b, context, Double.self, pow: Glibc.pow, fmod: Glibc.fmod)]
    case .float16, .bfloat16:
      let (x, y) = (try Conversion.convert(a, to: .float32, context), try Conversion.convert(b, to: .float32, context))
      let wide = try floating(x, y, context, Float.self, pow: Glibc.powf, fmod: Glibc.fmodf)
      return [try Conversion.convert(wide, to: a.type, context)]
    case .int8: return [try integer(a, b, context, Int8.self)]
    case .uint8: return [try integer(a, b, context, UInt8.self)]
    case .int16: return [try integer(a, b, context, Int16.self)]
    case .uint16: return [try integer(a, b, context, UInt16.self)]
    case .int32: return [try integer(a, b, context, Int32.self)]
    case .uint32: return [try integer(a, b, context, UInt32.self)]
    case .int64: return [try integer(a, b, context, Int64.self)]
    case .uint64: return [try integer(a, b, context, UInt64.self)]
    default: throw CetError(.unsupportedOperator, "\(name) of \(a.type)")
    }
  }

  /// For float32.
  public var vectorKernel: Elementwise.Binary? {
    switch function {
    case .add: .add
    case .subtract: .subtract
    case .multiply: .multiply
    case .divide: .divide
    case .maximum: .maximum
    case .minimum: .minimum
    case .power, .gate, .modulo, .remainder: nil
    }
  }

  private func floating<F: BinaryFloatingPoint & TensorElement>(
    _ a: Tensor, _ b: Tensor, _ context: ComputeContext, _: F.Type, pow: (F, F) -> F, fmod: (F, F) -> F
  ) throws(CetError) -> Tensor {
    switch function {
    case .add: try TensorMap.binary(a, b, context) { (x: F, y: F) in x + y }
    case .subtract: try TensorMap.binary(a, b, context) { (x: F, y: F) in x - y }
    case .multiply: try TensorMap.binary(a, b, context) { (x: F, y: F) in x * y }
    case .divide: try TensorMap.binary(a, b, context) { (x: F, y: F) in x / y }
    case .power: try TensorMap.binary(a, b, context) { (x: F, y: F) in y == 2 ? x * x : pow(x, y) }
    case .maximum: try TensorMap.binary(a, b, context) { (x: F, y: F) in x >= y || x.isNaN ? x : y }
    case .minimum: try TensorMap.binary(a, b, context) { (x: F, y: F) in x <= y || x.isNaN ? x : y }
    case .gate: try TensorMap.binary(a, b, context) { (x: F, g: F) in x > 0 ? g : 0 }
    case .remainder: try TensorMap.binary(a, b, context) { (x: F, y: F) in fmod(x, y) }
    case .modulo:
      try TensorMap.binary(a, b, context) { (x: F, y: F) -> F in
        let r = fmod(x, y)
        return r != 0 && (r < 0) != (y < 0) ? r + y : r
      }
    }
  }

  private func integer<I: FixedWidthInteger & TensorElement>(
    _ a: Tensor, _ b: Tensor, _ context: ComputeContext, _: I.Type
  ) throws(CetError) -> Tensor {
    switch function {
    case .add: try TensorMap.binary(a, b, context) { (x: I, y: I) in x &+ y }
    case .subtract: try TensorMap.binary(a, b, context) { (x: I, y: I) in x &- y }
    case .multiply: try TensorMap.binary(a, b, context) { (x: I, y: I) in x &* y }
    // Division by zero is undefined in ONNX; here it gives 0 instead of a trap.
    case .divide:
      try TensorMap.binary(a, b, context) { (x: I, y: I) in y == 0 ? 0 : x.dividedReportingOverflow(by: y).partialValue }
    case .maximum: try TensorMap.binary(a, b, context) { (x: I, y: I) in max(x, y) }
    case .minimum: try TensorMap.binary(a, b, context) { (x: I, y: I) in min(x, y) }
    case .gate: try TensorMap.binary(a, b, context) { (x: I, g: I) in x > 0 ? g : 0 }
    case .power:
      try TensorMap.binary(a, b, context) { (x: I, y: I) -> I in
        I(clamping: Int64(exactly: Glibc.pow(Double(x), Double(y)).rounded(.towardZero)) ?? 0)
      }
    case .remainder:
      try TensorMap.binary(a, b, context) { (x: I, y: I) in y == 0 ? 0 : x.remainderReportingOverflow(dividingBy: y).partialValue }
    case .modulo:
      try TensorMap.binary(a, b, context) { (x: I, y: I) -> I in
        guard y != 0 else { return 0 }
        let r = x.remainderReportingOverflow(dividingBy: y).partialValue
        return r != 0 && (r < 0) != (y < 0) ? r &+ y : r
      }
    }
  }

  public func jvp(_ call: Call, tangents: [Value?], _ e: Emitter) throws(CetError) -> [Value?] {
    let shape = call.outputs[0].shape
    let left = try partial(call, 0, tangents[0], e)
    let right = try partial(call, 1, tangents[1], e)
    return [try e.sum(left, right).map { x throws(CetError) in try e.expand(x, shape) }]
  }

  public func vjp(_ call: Call, cotangents: [Value?], wanted: [Bool], _ e: Emitter) throws(CetError) -> [Value?] {
    guard let cotangent = cotangents[0] else { return [nil, nil] }
    return try [0, 1].map { side throws(CetError) in
      guard wanted[side], let full = try partial(call, side, cotangent, e) else { return nil }
      return try e.sumTo(full, call.inputs[side].shape)  // a broadcast operand gets the sum over its copies
    }
  }

  /// ∂f/∂(input side) · d, in the shape of the output or of d.
  private func partial(_ call: Call, _ side: Int, _ d: Value?, _ e: Emitter) throws(CetError) -> Value? {
    guard let d else { return nil }
    let (a, b, y) = (call.inputs[0], call.inputs[1], call.outputs[0])
    guard a.element.isFloatingPoint else { return nil }
    switch function {
    case .add: return d
    case .subtract: return side == 0 ? d : try e.negate(d)
    case .multiply: return try e.multiply(d, side == 0 ? b : a)
    case .divide:  // d/b ; −d·y/b
      return try side == 0 ? e.divide(d, b) : e.negate(e.divide(e.multiply(d, y), b))
    case .power:
      if side == 0 {  // d·b·a^(b−1)
        if let exponent = e.known(b), exponent.count == 1, exponent.type == .float32, exponent.floats[0] == 2 {
          return try e.multiply(d, e.multiply(a, e.scalar(2, a.element)))
        }
        let one = try e.scalar(1, a.element)
        return try e.multiply(d, e.multiply(b, e.binary(.power, a, e.subtract(b, one))))
      }
      return try e.multiply(d, e.multiply(y, e.unary(.log, a)))  // d·y·ln a
    case .maximum:  // ties go to the first operand
      let first = try e.compare(.greaterOrEqual, a, b)
      return try e.mask(side == 0 ? first : e.not(first), d)
    case .minimum:
      let first = try e.compare(.lessOrEqual, a, b)
      return try e.mask(side == 0 ? first : e.not(first), d)
    case .gate: return side == 1 ? try e.gate(a, d) : nil
    case .modulo, .remainder:
      // x − y·k with k piecewise constant: d ; −d·k with k = (x − r)/y
      return try side == 0 ? d : e.negate(e.multiply(d, e.divide(e.subtract(a, y), b)))
    }
  }
}

/// Comparisons; the result is bool and has no derivative.
public struct Compare: PiecewiseConstant, SeparablePrimitive {
  public enum Relation: String, Hashable, Sendable { case equal, less, lessOrEqual, greater, greaterOrEqual }
  public let relation: Relation

  public init(_ relation: Relation) { self.relation = relation }

  public var name: String { relation.rawValue }

  public func inputAxes(forOutput axis: Int, of call: Call) -> [Int?]? { broadcastAxes(forOutput: axis, of: call) }

  public func infer(_ inputs: [TensorType]) throws(CetError) -> [TensorType] {
    [TensorType(.bool, try Binary(.add).infer(inputs)[0].shape)]
  }

  public func run(_ inputs: [Tensor], _ context: ComputeContext) throws(CetError) -> [Tensor] {
    let (a, b) = (inputs[0], inputs[1])
    switch a.type {
    case .float32:
      if let result = try TensorMap.compare(vectorRelation, a, b, context) { return [result] }
      return [try relate(a, b, context, Float.self)]
    case .float64: return [try relate(a, b, context, Double.self)]
    case .float16, .bfloat16:
      return [
        try relate(Conversion.convert(a, to: .float32, context), Conversion.convert(b, to: .float32, context), context, Float.self)
      ]
    case .int8: return [try relate(a, b, context, Int8.self)]
    case .uint8, .bool:
      return [try relate(a, b, context, UInt8.self)]
    case .int16: return [try relate(a, b, context, Int16.self)]
    case .uint16: return [try relate(a, b, context, UInt16.self)]
    case .int32: return [try relate(a, b, context, Int32.self)]
    case .uint32: return [try relate(a, b, context, UInt32.self)]
    case .int64: return [try relate(a, b, context, Int64.self)]
    case .uint64: return [try relate(a, b, context, UInt64.self)]
    default: throw CetError(.unsupportedOperator, "\(name) of \(a.type)")
    }
  }

  private var vectorRelation: Elementwise.Relation {
    switch relation {
    case .equal: .equal
    case .less: .less
    case .lessOrEqual: .lessOrEqual
    case .greater: .greater
    case .greaterOrEqual: .greaterOrEqual
    }
  }

  private func relate<X: Comparable & TensorElement>(
    _ a: Tensor, _ b: Tensor, _ context: ComputeContext, _: X.Type
  ) throws(CetError) -> Tensor {
    switch relation {
    case .equal: try TensorMap.binary(a, b, context) { (x: X, y: X) in x == y }
    case .less: try TensorMap.binary(a, b, context) { (x: X, y: X) in x < y }
    case .lessOrEqual: try TensorMap.binary(a, b, context) { (x: X, y: X) in x <= y }
    case .greater: try TensorMap.binary(a, b, context) { (x: X, y: X) in x > y }
    case .greaterOrEqual: try TensorMap.binary(a, b, context) { (x: X, y: X) in x >= y }
    }
  }
}

/// Logic and bitwise operations on bool and integer tensors; a right shift keeps the sign of signed types.
public struct Bitwise: PiecewiseConstant, SeparablePrimitive {
  public enum Function: String, Hashable, Sendable { case and, or, xor, shiftLeft, shiftRight }
  public let function: Function

  public init(_ function: Function) { self.function = function }

  public var name: String { function.rawValue }

  public func inputAxes(forOutput axis: Int, of call: Call) -> [Int?]? { broadcastAxes(forOutput: axis, of: call) }

  public func infer(_ inputs: [TensorType]) throws(CetError) -> [TensorType] { try Binary(.add).infer(inputs) }

  public func run(_ inputs: [Tensor], _ context: ComputeContext) throws(CetError) -> [Tensor] {
    let (a, b) = (inputs[0], inputs[1])
    switch a.type {
    case .bool:
      if function == .and, let result = try TensorMap.and(a, b, context) { return [result] }
      let words = try combine(a, b, context, UInt8.self)
      return [try Tensor(type: .bool, shape: words.shape, layout: words.layout, storage: words.storage)]
    case .int8: return [try combine(a, b, context, Int8.self)]
    case .uint8: return [try combine(a, b, context, UInt8.self)]
    case .int16: return [try combine(a, b, context, Int16.self)]
    case .uint16: return [try combine(a, b, context, UInt16.self)]
    case .int32: return [try combine(a, b, context, Int32.self)]
    case .uint32: return [try combine(a, b, context, UInt32.self)]
    case .int64: return [try combine(a, b, context, Int64.self)]
    case .uint64: return [try combine(a, b, context, UInt64.self)]
    default: throw CetError(.unsupportedOperator, "\(name) of \(a.type)")
    }
  }

  private func combine<I: FixedWidthInteger & TensorElement>(
    _ a: Tensor, _ b: Tensor, _ context: ComputeContext, _: I.Type
  ) throws(CetError) -> Tensor {
    switch function {
    case .and: try TensorMap.binary(a, b, context) { (x: I, y: I) in x & y }
    case .or: try TensorMap.binary(a, b, context) { (x: I, y: I) in x | y }
    case .xor: try TensorMap.binary(a, b, context) { (x: I, y: I) in x ^ y }
    // A count that is negative or not below the width moves every bit out.
    case .shiftLeft:
      try TensorMap.binary(a, b, context) { (x: I, y: I) in y < 0 || Int(clamping: y) >= I.bitWidth ? 0 : x &<< y }
    case .shiftRight:
      try TensorMap.binary(a, b, context) { (x: I, y: I) in
        y < 0 || Int(clamping: y) >= I.bitWidth ? (x &>> I(I.bitWidth - 1)) &>> 1 : x &>> y
      }
    }
  }
}

/// The same bytes as another element type of the same width.
public struct Reinterpret: PiecewiseConstant {
  public let element: ElementType
  public init(as element: ElementType) { self.element = element }
  public var name: String { "reinterpret" }

  public func infer(_ inputs: [TensorType]) throws(CetError) -> [TensorType] {
    guard inputs[0].element.bitWidth == element.bitWidth, element.bitWidth >= 8, element != .bool else {
      throw CetError(.unsupportedOperator, "the bits of \(inputs[0].element) as \(element)")
    }
    return [TensorType(element, inputs[0].shape)]
  }

  public func run(_ inputs: [Tensor], _ context: ComputeContext) throws(CetError) -> [Tensor] {
    let x = inputs[0]
    return [try Tensor(type: element, shape: x.shape, layout: x.layout, storage: x.storage, byteOffset: x.byteOffset)]
  }
}

/// condition ? a : b with broadcasting. Linear in a and in b, constant in the condition.
public struct Select: SeparablePrimitive {
  public init() {}

  public var name: String { "select" }

  public func inputAxes(forOutput axis: Int, of call: Call) -> [Int?]? { broadcastAxes(forOutput: axis, of: call) }

  public func infer(_ inputs: [TensorType]) throws(CetError) -> [TensorType] {
    guard inputs[0].element == .bool, inputs[1].element == inputs[2].element else {
      throw CetError(
        .shapeMismatch, "select needs bool and two equal types, got \(inputs[0].element), \(inputs[1].element), \(inputs[2].element)")
    }
    guard let ab = broadcastShape(inputs[1].shape, inputs[2].shape), let shape = broadcastShape(inputs[0].shape, ab) else {
      throw CetError(
        .shapeMismatch,
        "shapes \(inputs[0].shape.shapeText), \(inputs[1].shape.shapeText) and \(inputs[2].shape.shapeText) do not broadcast")
    }
    return [TensorType(inputs[1].element, shape)]
  }

  public func run(_ inputs: [Tensor], _ context: ComputeContext) throws(CetError) -> [Tensor] {
    [try TensorMap.select(inputs[0], inputs[1], inputs[2], context)]
  }

  public func jvp(_ call: Call, tangents: [Value?], _ e: Emitter) throws(CetError) -> [Value?] {
    guard tangents[1] != nil || tangents[2] != nil else { return [nil] }
    let zero = try e.scalar(0, call.outputs[0].element)
    let both = try e.emit(self, call.inputs[0], tangents[1] ?? zero, tangents[2] ?? zero)
    return [try e.expand(both, call.outputs[0].shape)]
  }

  public func vjp(_ call: Call, cotangents: [Value?], wanted: [Bool], _ e: Emitter) throws(CetError) -> [Value?] {
    guard let cotangent = cotangents[0] else { return [nil, nil, nil] }
    let zero = try e.scalar(0, cotangent.element)
    let condition = call.inputs[0]
    return [
      nil,
      try wanted[1] ? e.sumTo(e.emit(self, condition, cotangent, zero), call.inputs[1].shape) : nil,
      try wanted[2] ? e.sumTo(e.emit(self, condition, zero, cotangent), call.inputs[2].shape) : nil,
    ]
  }
}
