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
    try alongAxis(inputs[0], axis, resultSize: 1, context) { [largest, last] row, result in
      var best = 0
      for i in 1..<max(row.count, 1) {
        let better = largest ? row.before(best, i) : row.before(i, best)
        if better || (last && !row.before(best, i) && !row.before(i, best)) { best = i }
      }
      result[0] = Int64(best)
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

  public func run(_ inputs: [Tensor], _ context: ComputeContext) throws(CetError) -> [Tensor] {
    try alongAxis(inputs[0], axis, resultSize: count, context) { [largest, count] row, result in
      let order = (0..<row.count).sorted { a, b in
        if largest ? row.before(b, a) : row.before(a, b) { return true }
        if largest ? row.before(a, b) : row.before(b, a) { return false }
        return a < b
      }
      for i in 0..<count { result[i] = Int64(order[i]) }
    }
  }
}

/// One line of a tensor along an axis, compared exactly: as doubles or as 64-bit integers. NaN is the largest.
private struct Line {
  enum Numbers {
    case real([Double])
    case whole([Int64])
  }
  let numbers: Numbers

  var count: Int {
    switch numbers {
    case .real(let values): values.count
    case .whole(let values): values.count
    }
  }

  func before(_ a: Int, _ b: Int) -> Bool {
    switch numbers {
    case .real(let values): values[a] < values[b] || (!values[a].isNaN && values[b].isNaN)
    case .whole(let values): values[a] < values[b]
    }
  }
}

private func alongAxis(
  _ tensor: Tensor, _ axis: Int, resultSize: Int, _ context: ComputeContext,
  _ body: (Line, inout [Int64]) -> Void
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
  var buffer = [Int64](repeating: 0, count: resultSize)
  for o in 0..<outer {
    for i in 0..<inner {
      let start = o * size * inner + i
      let line =
        real
        ? Line(numbers: .real((0..<size).map { x.elements(as: Double.self)[start + $0 * inner] }))
        : Line(numbers: .whole((0..<size).map { x.elements(as: Int64.self)[start + $0 * inner] }))
      body(line, &buffer)
      for k in 0..<resultSize { target[(o * resultSize + k) * inner + i] = buffer[k] }
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
    for o in 0..<outer {
      for i in 0..<inner {
        var sum = zero
        for step in 0..<size {
          let place = (o * size + (reversed ? size - 1 - step : step)) * inner + i
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
