/// Comparisons and choices over whole tensors.
extension TensorMap {
  /// out = condition ? a : b with broadcasting, for any element width.
  public static func select(_ condition: Tensor, _ a: Tensor, _ b: Tensor, _ context: ComputeContext) throws(CetError) -> Tensor {
    guard let ab = broadcastShape(a.shape, b.shape), let shape = broadcastShape(condition.shape, ab) else {
      throw CetError(
        .shapeMismatch,
        "shapes \(condition.shape.shapeText), \(a.shape.shapeText) and \(b.shape.shapeText) do not broadcast")
    }
    if a.type == .float32, let result = try vectorSelect(condition, a, b, shape, context) { return result }
    switch a.type.byteWidth {
    case 1: return try select(UInt8.self, condition, a, b, shape, context)
    case 2: return try select(UInt16.self, condition, a, b, shape, context)
    case 4: return try select(UInt32.self, condition, a, b, shape, context)
    default: return try select(UInt64.self, condition, a, b, shape, context)
    }
  }

  private static func select<Word>(
    _: Word.Type, _ condition: Tensor, _ a: Tensor, _ b: Tensor, _ shape: [Int], _ context: ComputeContext
  ) throws(CetError) -> Tensor {
    let result = try Tensor(uninitialized: a.type, shape, layout: a.shape == shape ? a.layout : .rowMajor, arena: context.arena)
    let order = storageOrder(rank: shape.count, layout: result.layout)
    let walk = StridedWalk(
      extents: shape.permuted(order),
      strides: [result.strides.permuted(order)]
        + [condition, a, b].map { $0.broadcastStrides(to: shape).permuted(order) })
    let mask = condition.elements(as: Bool.self)
    let left = a.pointer.assumingMemoryBound(to: Word.self)
    let right = b.pointer.assumingMemoryBound(to: Word.self)
    let output = result.pointer.assumingMemoryBound(to: Word.self)
    let (sm, sa, sb) = (walk.rowStride(1), walk.rowStride(2), walk.rowStride(3))
    try walk.forEachRow(context) { offsets, count in
      let z = output + offsets[0]
      for i in 0..<count {
        z[i] = mask[offsets[1] + i * sm] ? left[offsets[2] + i * sa] : right[offsets[3] + i * sb]
      }
    }
    return result
  }

  /// The cases of derivatives: all operands of the result's shape, or a zero where the condition fails. nil otherwise.
  private static func vectorSelect(
    _ condition: Tensor, _ a: Tensor, _ b: Tensor, _ shape: [Int], _ context: ComputeContext
  ) throws(CetError) -> Tensor? {
    guard condition.shape == shape, a.shape == shape else { return nil }
    let otherwise: Tensor?
    if b.shape == shape {
      otherwise = try b.converted(to: a.layout, arena: context.arena)
    } else {
      guard b.count == 1, b.floats[0].bitPattern == 0 else { return nil }
      otherwise = nil
    }
    let mask = try condition.converted(to: a.layout, arena: context.arena)
    let result = try Tensor(uninitialized: .float32, shape, layout: a.layout, arena: context.arena)
    Elementwise.select(
      mask.elements(as: UInt8.self), a.floats, otherwise.map { UnsafePointer($0.floats) }, into: result.floats,
      count: result.count)
    return result
  }

  /// a relation b for float32; nil when only a broadcast of another kind than that of a scalar `b` would do.
  public static func compare(
    _ relation: Elementwise.Relation, _ a: Tensor, _ b: Tensor, _ context: ComputeContext
  ) throws(CetError) -> Tensor? {
    guard b.shape == a.shape || (b.count == 1 && b.rank <= a.rank) else { return nil }
    let result = try Tensor(uninitialized: .bool, a.shape, layout: a.layout, arena: context.arena)
    let target = result.elements(as: UInt8.self)
    if b.shape == a.shape {
      let other = try b.converted(to: a.layout, arena: context.arena)
      Elementwise.compare(relation, a.floats, other.floats, into: target, count: a.count)
    } else {
      Elementwise.compare(relation, a.floats, scalar: b.floats[0], into: target, count: a.count)
    }
    return result
  }

  /// Logical conjunction of equally shaped conditions.
  public static func and(_ a: Tensor, _ b: Tensor, _ context: ComputeContext) throws(CetError) -> Tensor? {
    guard a.shape == b.shape else { return nil }
    let other = try b.converted(to: a.layout, arena: context.arena)
    let result = try Tensor(uninitialized: a.type, a.shape, layout: a.layout, arena: context.arena)
    Elementwise.and(
      a.elements(as: UInt8.self), other.elements(as: UInt8.self), into: result.elements(as: UInt8.self), count: a.count)
    return result
  }
}
