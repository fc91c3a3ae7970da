/// Reductions over a set of axes. Floating-point sums are accumulated in double, in storage order.
public enum TensorReduction {
  /// Sums over `axes` (sorted, unique), which are kept with size 1.
  public static func sum(_ x: Tensor, axes: [Int], _ context: ComputeContext) throws(CetError) -> Tensor {
    switch x.type {
    case .float32:
      if let rows = try sumOfRows(x, axes, context) { return rows }
      return try fold(x, axes, context, start: 0.0, { (s: Double, v: Float) in s + Double(v) }, { Float($0) })
    case .float64: return try fold(x, axes, context, start: 0.0, { (s: Double, v: Double) in s + v }, { $0 })
    case .int32: return try fold(x, axes, context, start: Int32(0), { $0 &+ $1 }, { $0 })
    case .int64: return try fold(x, axes, context, start: Int64(0), { $0 &+ $1 }, { $0 })
    case .uint32: return try fold(x, axes, context, start: UInt32(0), { $0 &+ $1 }, { $0 })
    case .uint64: return try fold(x, axes, context, start: UInt64(0), { $0 &+ $1 }, { $0 })
    default: throw CetError(.unsupportedOperator, "no sum over \(x.type)")
    }
  }

  /// The sum over the last axis, or over the axes before it; nil when these are not the axes.
  private static func sumOfRows(_ x: Tensor, _ axes: [Int], _ context: ComputeContext) throws(CetError) -> Tensor? {
    guard let last = axes.last, x.layout == .rowMajor, x.count > 0 else { return nil }
    var shape = x.shape
    for axis in axes { shape[axis] = 1 }
    let inner = x.shape[x.rank - 1]
    if axes == [x.rank - 1], inner >= 16 {
      let result = try Tensor(uninitialized: .float32, shape, arena: context.arena)
      Reduction.sumRows(x.floats, into: result.floats, rows: x.count / inner, columns: inner)
      return result
    }
    let columns = x.shape[(last + 1)...].reduce(1, *)
    guard axes == Array(0...last), columns >= 16 else { return nil }
    let result = try Tensor(uninitialized: .float32, shape, arena: context.arena)
    Reduction.sumColumns(x.floats, rowStride: columns, into: result.floats, rows: x.count / columns, columns: columns)
    return result
  }

  public static func product(_ x: Tensor, axes: [Int], _ context: ComputeContext) throws(CetError) -> Tensor {
    switch x.type {
    case .float32: return try fold(x, axes, context, start: 1.0, { (s: Double, v: Float) in s * Double(v) }, { Float($0) })
    case .float64: return try fold(x, axes, context, start: 1.0, { (s: Double, v: Double) in s * v }, { $0 })
    case .int32: return try fold(x, axes, context, start: Int32(1), { $0 &* $1 }, { $0 })
    case .int64: return try fold(x, axes, context, start: Int64(1), { $0 &* $1 }, { $0 })
    default: throw CetError(.unsupportedOperator, "no product over \(x.type)")
    }
  }

  public static func maximum(_ x: Tensor, axes: [Int], _ context: ComputeContext) throws(CetError) -> Tensor {
    switch x.type {
    case .float32: return try fold(x, axes, context, start: -Float.infinity, { $1 > $0 || $1.isNaN ? $1 : $0 }, { $0 })
    case .float64: return try fold(x, axes, context, start: -Double.infinity, { $1 > $0 || $1.isNaN ? $1 : $0 }, { $0 })
    case .int8: return try fold(x, axes, context, start: Int8.min, { max($0, $1) }, { $0 })
    case .uint8: return try fold(x, axes, context, start: UInt8.min, { max($0, $1) }, { $0 })
    case .int32: return try fold(x, axes, context, start: Int32.min, { max($0, $1) }, { $0 })
    case .int64: return try fold(x, axes, context, start: Int64.min, { max($0, $1) }, { $0 })
    case .uint32: return try fold(x, axes, context, start: UInt32.min, { max($0, $1) }, { $0 })
    case .uint64: return try fold(x, axes, context, start: UInt64.min, { max($0, $1) }, { $0 })
    case .bool: return try fold(x, axes, context, start: false, { $0 || $1 }, { $0 })
    default: throw CetError(.unsupportedOperator, "no maximum over \(x.type)")
    }
  }

  public static func minimum(_ x: Tensor, axes: [Int], _ context: ComputeContext) throws(CetError) -> Tensor {
    switch x.type {
    case .float32: return try fold(x, axes, context, start: Float.infinity, { $1 < $0 || $1.isNaN ? $1 : $0 }, { $0 })
    case .float64: return try fold(x, axes, context, start: Double.infinity, { $1 < $0 || $1.isNaN ? $1 : $0 }, { $0 })
    case .int8: return try fold(x, axes, context, start: Int8.max, { min($0, $1) }, { $0 })
    case .uint8: return try fold(x, axes, context, start: UInt8.max, { min($0, $1) }, { $0 })
    case .int32: return try fold(x, axes, context, start: Int32.max, { min($0, $1) }, { $0 })
    case .int64: return try fold(x, axes, context, start: Int64.max, { min($0, $1) }, { $0 })
    case .uint32: return try fold(x, axes, context, start: UInt32.max, { min($0, $1) }, { $0 })
    case .uint64: return try fold(x, axes, context, start: UInt64.max, { min($0, $1) }, { $0 })
    case .bool: return try fold(x, axes, context, start: true, { $0 && $1 }, { $0 })
    default: throw CetError(.unsupportedOperator, "no minimum over \(x.type)")
    }
  }

  @inline(__always)
  private static func fold<X: TensorElement, S>(
    _ x: Tensor, _ axes: [Int], _ context: ComputeContext, start: S, _ combine: (S, X) -> S, _ finish: (S) -> X
  ) throws(CetError) -> Tensor {
    var shape = x.shape
    for axis in axes { shape[axis] = 1 }
    let result = try Tensor(uninitialized: X.elementType, shape, layout: x.layout, arena: context.arena)
    let count = result.count
    let sums = UnsafeMutablePointer<S>.allocate(capacity: max(count, 1))
    sums.initialize(repeating: start, count: max(count, 1))
    defer { sums.deallocate() }
    let order = storageOrder(rank: x.rank, layout: x.layout)
    let walk = StridedWalk(
      extents: x.shape.permuted(order),
      strides: [result.broadcastStrides(to: x.shape).permuted(order), x.strides.permuted(order)])
    let input = UnsafePointer(x.elements(as: X.self))
    let (so, sx) = (walk.rowStride(0), walk.rowStride(1))
    try walk.forEachRow(context) { offsets, n in
      let s = sums + offsets[0]
      let v = input + offsets[1]
      if so == 0 {
        var sum = s[0]
        for i in 0..<n { sum = combine(sum, v[i * sx]) }
        s[0] = sum
      } else {
        for i in 0..<n { s[i * so] = combine(s[i * so], v[i * sx]) }
      }
    }
    let output = result.elements(as: X.self)
    for i in 0..<count { output[i] = finish(sums[i]) }
    return result
  }
}
