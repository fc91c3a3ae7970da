import CetTensor
import Glibc

/// TensorMap functions of one argument.
public struct Unary: SeparablePrimitive {
  public enum Function: String, Hashable, Sendable, CaseIterable {
    case negate, absolute, sign, exp, log, sqrt, reciprocal, tanh, sigmoid, erf, relu, softplus
    case sin, cos, tan, asin, acos, atan, sinh, cosh, asinh, acosh, atanh
    case floor, ceil, round
  }
  public let function: Function

  public init(_ function: Function) { self.function = function }

  public var name: String { function.rawValue }

  public func inputAxes(forOutput axis: Int, of call: Call) -> [Int?]? { broadcastAxes(forOutput: axis, of: call) }

  public func infer(_ inputs: [TensorType]) throws(CetError) -> [TensorType] {
    switch inputs[0].element {
    case .float32, .float64, .float16, .bfloat16: return inputs
    case .int8, .int16, .int32, .int64:
      if [.negate, .absolute, .sign, .relu].contains(function) { return inputs }
    case .uint8, .uint16, .uint32, .uint64:
      if [.absolute, .sign].contains(function) { return inputs }
    default: break
    }
    throw CetError(.unsupportedOperator, "\(name) of \(inputs[0].element)")
  }

  public func work(_ inputs: [TensorType], _ outputs: [TensorType]) -> Int {
    Int.saturatingProduct(inputs[0].count, inputs[0].element == .float32 && vectorKernel != nil ? 2 : 16)
  }

  public func run(_ inputs: [Tensor], _ context: ComputeContext) throws(CetError) -> [Tensor] {
    let x = inputs[0]
    switch x.type {
    case .float32: return [try float(x, context)]
    case .float64: return [try TensorMap.unary(x, context) { (v: Double) in double(v) }]
    case .float16, .bfloat16:
      let wide = try float(Conversion.convert(x, to: .float32, context), context)
      return [try Conversion.convert(wide, to: x.type, context)]
    case .int8: return [try integer(x, Int8.self, context)]
    case .int16: return [try integer(x, Int16.self, context)]
    case .int32: return [try integer(x, Int32.self, context)]
    case .int64: return [try integer(x, Int64.self, context)]
    default:  // unsigned: the absolute value is the value
      if function == .absolute { return [x] }
      let ones = try Conversion.convert(x, to: .bool, context)
      return [try Conversion.convert(ones, to: x.type, context)]
    }
  }

  private func integer<I: FixedWidthInteger & SignedInteger & TensorElement>(
    _ x: Tensor, _: I.Type, _ context: ComputeContext
  ) throws(CetError) -> Tensor {
    switch function {
    case .negate: try TensorMap.unary(x, context) { (v: I) in 0 &- v }
    case .absolute: try TensorMap.unary(x, context) { (v: I) in v < 0 ? 0 &- v : v }
    case .relu: try TensorMap.unary(x, context) { (v: I) in v < 0 ? 0 : v }
    default: try TensorMap.unary(x, context) { (v: I) in v.signum() }
    }
  }

  private func float(_ x: Tensor, _ context: ComputeContext) throws(CetError) -> Tensor {
    if let kernel = vectorKernel { return try TensorMap.vector(x, context, kernel) }
    return try TensorMap.unary(x, context) { (v: Float) in Float(double(Double(v))) }
  }

  /// For float32.
  public var vectorKernel: Elementwise.Unary? {
    switch function {
    case .negate: .negate
    case .absolute: .absolute
    case .sqrt: .squareRoot
    case .reciprocal: .reciprocal
    case .relu: .relu
    case .exp: .exp
    case .log: .log
    case .tanh: .tanh
    case .sigmoid: .sigmoid
    case .erf: .erf
    default: nil
    }
  }

  private func double(_ v: Double) -> Double {
    switch function {
    case .negate: -v
    case .absolute: Swift.abs(v)
    case .sign: v > 0 ? 1 : v < 0 ? -1 : v
    case .exp: Glibc.exp(v)
    case .log: Glibc.log(v)
    case .sqrt: v.squareRoot()
    case .reciprocal: 1 / v
    case .tanh: Glibc.tanh(v)
    case .sigmoid: 1 / (1 + Glibc.exp(-v))
    case .erf: Glibc.erf(v)
    case .relu: v > 0 || v.isNaN ? v : 0
    case .softplus: v > 0 ? v + log1p(Glibc.exp(-v)) : log1p(Glibc.exp(v))
    case .sin: Glibc.sin(v)
    case .cos: Glibc.cos(v)
    case .tan: Glibc.tan(v)
    case .asin: Glibc.asin(v)
    case .acos: Glibc.acos(v)
    case .atan: Glibc.atan(v)
    case .sinh: Glibc.sinh(v)
    case .cosh: Glibc.cosh(v)
    case .asinh: Glibc.asinh(v)
    case .acosh: Glibc.acosh(v)
    case .atanh: Glibc.atanh(v)
    case .floor: v.rounded(.down)
    case .ceil: v.rounded(.up)
    case .round: v.rounded(.toNearestOrEven)
    }
  }

  public func jvp(_ call: Call, tangents: [Value?], _ e: Emitter) throws(CetError) -> [Value?] {
    [try along(call, tangents[0], e)]
  }

  public func vjp(_ call: Call, cotangents: [Value?], wanted: [Bool], _ e: Emitter) throws(CetError) -> [Value?] {
    [wanted[0] ? try along(call, cotangents[0], e) : nil]
  }

  /// f′(x)·d: the derivative of an elementwise map is its own transpose.
  private func along(_ call: Call, _ d: Value?, _ e: Emitter) throws(CetError) -> Value? {
    guard let d else { return nil }
    let x = call.inputs[0]
    let y = call.outputs[0]
    let one = try e.scalar(1, x.element)
    switch function {
    case .sign, .floor, .ceil, .round: return nil
    case .negate: return try e.negate(d)
    case .absolute: return try e.multiply(d, e.unary(.sign, x))  // 0 at the kink
    case .relu: return try e.gate(x, d)  // 0 at the kink
    case .exp: return try e.multiply(d, y)
    case .log: return try e.divide(d, x)
    case .sqrt: return try e.divide(e.multiply(d, e.scalar(0.5, x.element)), y)
    case .reciprocal: return try e.negate(e.multiply(d, e.multiply(y, y)))  // −d/x²
    case .tanh: return try e.multiply(d, e.subtract(one, e.multiply(y, y)))  // 1 − y²
    case .sigmoid: return try e.multiply(d, e.multiply(y, e.subtract(one, y)))  // y(1 − y)
    case .softplus: return try e.multiply(d, e.unary(.sigmoid, x))
    case .erf:  // 2/√π · e^(−x²)
      let bell = try e.unary(.exp, e.negate(e.multiply(x, x)))
      return try e.multiply(d, e.multiply(bell, e.scalar(2 / Double.pi.squareRoot(), x.element)))
    case .sin: return try e.multiply(d, e.unary(.cos, x))
    case .cos: return try e.negate(e.multiply(d, e.unary(.sin, x)))
    case .tan: return try e.multiply(d, e.add(one, e.multiply(y, y)))
    case .asin: return try e.divide(d, e.unary(.sqrt, e.subtract(one, e.multiply(x, x))))
    case .acos: return try e.negate(e.divide(d, e.unary(.sqrt, e.subtract(one, e.multiply(x, x)))))
    case .atan: return try e.divide(d, e.add(one, e.multiply(x, x)))
    case .sinh: return try e.multiply(d, e.unary(.cosh, x))
    case .cosh: return try e.multiply(d, e.unary(.sinh, x))
    case .asinh: return try e.divide(d, e.unary(.sqrt, e.add(e.multiply(x, x), one)))
    case .acosh: return try e.divide(d, e.unary(.sqrt, e.subtract(e.multiply(x, x), one)))
    case .atanh: return try e.divide(d, e.subtract(one, e.multiply(x, x)))
    }
  }
}

/// Element type conversion (ONNX Cast). Between floating-point types it is the identity with rounding, which
/// counts as linear; into or out of any other type it has no derivative.
public struct Convert: SeparablePrimitive {
  public let element: ElementType
  /// Whether numbers too large for a format of 8 bits become its largest number.
  public let saturates: Bool

  public init(to element: ElementType, saturates: Bool = true) {
    self.element = element
    self.saturates = saturates
  }

  public var name: String { "convert" }

  public func inputAxes(forOutput axis: Int, of call: Call) -> [Int?]? { broadcastAxes(forOutput: axis, of: call) }

  public func infer(_ inputs: [TensorType]) throws(CetError) -> [TensorType] { [TensorType(element, inputs[0].shape)] }

  public func run(_ inputs: [Tensor], _ context: ComputeContext) throws(CetError) -> [Tensor] {
    [try Conversion.convert(inputs[0], to: element, saturates: saturates, context)]
  }

  public func jvp(_ call: Call, tangents: [Value?], _ e: Emitter) throws(CetError) -> [Value?] {
    guard let tangent = tangents[0], element.isFloatingPoint else { return [nil] }
    return [try e.emit(self, tangent)]
  }

  public func vjp(_ call: Call, cotangents: [Value?], wanted: [Bool], _ e: Emitter) throws(CetError) -> [Value?] {
    let from = call.inputs[0].element
    guard let cotangent = cotangents[0], wanted[0], from.isFloatingPoint else { return [nil] }
    return [try e.emit(Convert(to: from), cotangent)]
  }
}
