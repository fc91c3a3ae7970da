import CetTensor

/// Where the largest or smallest element along an axis is; the axis is kept with size 1. int64.
public struct ArgExtremum: PiecewiseConstant {
  public let axis: Int
  public let largest: Bool
  /// Which of equal elements counts.
  public let last: Bool
  public init(axis: Int, largest: Bool, last: Bool = false) {
    self.axis = axis
    self.largest = largest
    self.last = last
  }
  public var name: String { largest ? "index of the maximum" : "index of the minimum" }

  public func infer(_ inputs: [TensorType]) throws(CetError) -> [TensorType] {
    var shape = inputs[0].shape
    guard shape.indices.contains(axis), shape[axis] > 0 else {
      throw CetError(.shapeMismatch, "\(name) along axis \(axis) of \(shape.shapeText)")
    }
    shape[axis] = 1
    return [TensorType(.int64, shape)]
  }

  public func run(_ inputs: [Tensor], _ context: ComputeContext) throws(CetError) -> [Tensor] {
    try alongAxis(inputs[0], axis, resultSize: 1, context) { [largest, last] row, put throws(CetError) in
      var best = 0
      try context.pieces(row.count) { piece in
        for i in piece {
          let better = largest ? row.before(best, i) : row.before(i, best)
          if better || (last && !row.before(best, i) && !row.before(i, best)) { best = i }
        }
      }
      put(0, best)
    }
  }
}

/// The positions of the k largest or smallest elements along an axis, best first; the first of equal ones
/// comes first. int64.
public struct TopPositions: PiecewiseConstant {
  public let axis: Int
  public let count: Int
  public let largest: Bool
  public init(axis: Int, count: Int, largest: Bool) {
    self.axis = axis
    self.count = count
    self.largest = largest
  }
  public var name: String { "positions of the \(largest ? "largest" : "smallest")" }

  public func infer(_ inputs: [TensorType]) throws(CetError) -> [TensorType] {
    var shape = inputs[0].shape
    guard shape.indices.contains(axis), count >= 0, count <= shape[axis] else {
      throw CetError(.shapeMismatch, "the first \(count) along axis \(axis) of \(shape.shapeText)")
    }
    shape[axis] = count
    return [TensorType(.int64, shape)]
  }

  public func work(_ inputs: [TensorType], _ outputs: [TensorType]) -> Int {
    let size = inputs[0].shape[axis]
    return Int.saturatingProduct(inputs[0].count, 4 * (Int.bitWidth - size.leadingZeroBitCount))
  }

  public func run(_ inputs: [Tensor], _ context: ComputeContext) throws(CetError) -> [Tensor] {
    try alongAxis(inputs[0], axis, resultSize: count, context) { [largest, count] row, put throws(CetError) in
      // The places, and what sorting holds beside them.
      try SystemMemory.checkRoom(for: .saturatingProduct(row.count, 12))
      var (order, compared) = (ContiguousArray<Int>(0..<row.count), 0)
      do {
        try order.sort { a, b in
          compared += 1
          if compared & (1 << 20 - 1) == 0 { try context.interruption.check() }
          if largest ? row.before(b, a) : row.before(a, b) { return true }
          if largest ? row.before(a, b) : row.before(b, a) { return false }
          return a < b
        }
      } catch {
        throw CetError(error)
      }
      for i in 0..<count { put(i, order[i]) }
    }
  }
}

/// One line of a tensor along an axis, compared exactly: as doubles or as 64-bit integers. NaN is the largest.
private struct Line {
  enum Numbers {
    case real(UnsafePointer<Double>)
    case whole(UnsafePointer<Int64>)
  }
  let numbers: Numbers
  let step: Int
  let count: Int

  @inline(__always)
  func before(_ a: Int, _ b: Int) -> Bool {
    switch numbers {
    case .real(let values): values[a * step] < values[b * step] || (!values[a * step].isNaN && values[b * step].isNaN)
    case .whole(let values): values[a * step] < values[b * step]
    }
  }
}

/// - Parameter body: gets a line and puts its results, by number.
private func alongAxis(
  _ tensor: Tensor, _ axis: Int, resultSize: Int, _ context: ComputeContext,
  _ body: (Line, (Int, Int) -> Void) throws(CetError) -> Void
) throws(CetError) -> [Tensor] {
  let real = tensor.type.isFloatingPoint
  let x = try Conversion.convert(tensor.rowMajor(arena: context.arena), to: real ? .float64 : .int64, context)
  var shape = x.shape
  let size = shape[axis]
  shape[axis] = resultSize
  let result = try Tensor(uninitialized: .int64, shape, arena: context.arena)
  let inner = shape[(axis + 1)...].reduce(1, *)
  let outer = shape[..<axis].reduce(1, *)
  let target = result.elements(as: Int64.self)
  try context.pieces(outer * inner, eachOf: size) { lines throws(CetError) in
    for line in lines {
      let (o, i) = (line / inner, line % inner)
      let start = o * size * inner + i
      let numbers: Line.Numbers = real ? .real(x.elements(as: Double.self) + start) : .whole(x.elements(as: Int64.self) + start)
      try body(Line(numbers: numbers, step: inner, count: size)) { k, place in
        target[(o * resultSize + k) * inner + i] = Int64(place)
      }
    }
  }
  return [result]
}

/// Running sums along an axis (ONNX CumSum); linear. The transpose runs the other way.
public struct RunningSum: LinearPrimitive {
  public let axis: Int
  public let exclusive: Bool
  public let reversed: Bool
  public init(axis: Int, exclusive: Bool = false, reversed: Bool = false) {
    self.axis = axis
    self.exclusive = exclusive
    self.reversed = reversed
  }
  public var name: String { "running sum" }

  public func infer(_ inputs: [TensorType]) throws(CetError) -> [TensorType] {
    guard inputs[0].shape.indices.contains(axis) else {
      throw CetError(.shapeMismatch, "\(name) along axis \(axis) of \(inputs[0].shape.shapeText)")
    }
    return inputs
  }

  public func work(_ inputs: [TensorType], _ outputs: [TensorType]) -> Int { Int.saturatingProduct(inputs[0].count, 8) }

  public func run(_ inputs: [Tensor], _ context: ComputeContext) throws(CetError) -> [Tensor] {
    let x = try inputs[0].rowMajor(arena: context.arena)
    switch x.type {
    case .float32: return [try accumulate(x, context, 0.0, { (s: Double, v: Float) in s + Double(v) }, { Float($0) })]
    case .float64: return [try accumulate(x, context, 0.0, { (s: Double, v: Double) in s + v }, { $0 })]
    case .int32, .uint32: return [try accumulate(x, context, Int32(0), { $0 &+ $1 }, { $0 })]
    case .int64, .uint64: return [try accumulate(x, context, Int64(0), { $0 &+ $1 }, { $0 })]
    case .float16, .bfloat16:
      let wide = try run([Conversion.convert(x, to: .float32, context)], context)[0]
      return [try Conversion.convert(wide, to: x.type, context)]
    default: throw CetError(.unsupportedOperator, "\(name) of \(x.type)")
    }
  }

  private func accumulate<X, S>(
    _ x: Tensor, _ context: ComputeContext, _ zero: S, _ add: (S, X) -> S, _ finish: (S) -> X
  ) throws(CetError) -> Tensor {
    let result = try Tensor(uninitialized: x.type, x.shape, arena: context.arena)
    let size = x.shape[axis]
    let inner = x.shape[(axis + 1)...].reduce(1, *)
    let outer = x.shape[..<axis].reduce(1, *)
    let source = x.pointer.assumingMemoryBound(to: X.self)
    let target = result.pointer.assumingMemoryBound(to: X.self)
    try context.pieces(outer * inner, eachOf: 4 * size) { lines in
      for line in lines {
        let start = line / inner * size * inner + line % inner
        var sum = zero
        for step in 0..<size {
          let place = start + (reversed ? size - 1 - step : step) * inner
          if exclusive { target[place] = finish(sum) }
          sum = add(sum, source[place])
          if !exclusive { target[place] = finish(sum) }
        }
      }
    }
    return result
  }

  public func transpose(_ call: Call, _ cotangent: Value, _ e: Emitter) throws(CetError) -> Value? {
    try e.emit(RunningSum(axis: axis, exclusive: exclusive, reversed: !reversed), cotangent)
  }
}
