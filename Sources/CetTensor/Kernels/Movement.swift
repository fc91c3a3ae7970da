/// Kernels that only move elements: one strided copy behind all of them.
public enum Movement {
  /// Copies the index space `extents` from `source` (offset and strides in elements) to `target`.
  public static func copy(
    extents: [Int], from source: Tensor, offset: Int, strides: [Int], to target: Tensor, targetOffset: Int, targetStrides: [Int],
    _ context: ComputeContext
  ) throws(CetError) {
    switch source.type.byteWidth {
    case 1: try copy(UInt8.self, extents, source, offset, strides, target, targetOffset, targetStrides, context)
    case 2: try copy(UInt16.self, extents, source, offset, strides, target, targetOffset, targetStrides, context)
    case 4: try copy(UInt32.self, extents, source, offset, strides, target, targetOffset, targetStrides, context)
    default: try copy(UInt64.self, extents, source, offset, strides, target, targetOffset, targetStrides, context)
    }
  }

  private static func copy<Word>(
    _: Word.Type, _ extents: [Int], _ source: Tensor, _ offset: Int, _ strides: [Int],
    _ target: Tensor, _ targetOffset: Int, _ targetStrides: [Int], _ context: ComputeContext
  ) throws(CetError) {
    let walk = StridedWalk(extents: extents, strides: [targetStrides, strides])
    let input = source.pointer.assumingMemoryBound(to: Word.self) + offset
    let output = target.pointer.assumingMemoryBound(to: Word.self) + targetOffset
    let (st, ss) = (walk.rowStride(0), walk.rowStride(1))
    try walk.forEachRow(context) { offsets, count in
      let y = output + offsets[0]
      let x = input + offsets[1]
      if st == 1 && ss == 1 {
        y.update(from: x, count: count)
      } else if st == 1 && ss == 0 {
        y.update(repeating: x[0], count: count)
      } else {
        for i in 0..<count { y[i * st] = x[i * ss] }
      }
    }
  }

  public static func transpose(_ x: Tensor, _ permutation: [Int], _ context: ComputeContext) throws(CetError) -> Tensor {
    let shape = x.shape.permuted(permutation)
    let result = try Tensor(uninitialized: x.type, shape, arena: context.arena)
    try copy(
      extents: shape, from: x, offset: 0, strides: x.strides.permuted(permutation), to: result, targetOffset: 0,
      targetStrides: result.strides, context)
    return result
  }

  public static func expand(_ x: Tensor, _ shape: [Int], _ context: ComputeContext) throws(CetError) -> Tensor {
    let layout: Layout = x.rank == shape.count ? x.layout : .rowMajor
    let result = try Tensor(uninitialized: x.type, shape, layout: layout, arena: context.arena)
    let order = storageOrder(rank: shape.count, layout: result.layout)
    try copy(
      extents: shape.permuted(order), from: x, offset: 0, strides: x.broadcastStrides(to: shape).permuted(order),
      to: result, targetOffset: 0, targetStrides: result.strides.permuted(order), context)
    return result
  }

  /// result[i...] = x[start + i·step ...]; the caller has checked the ranges.
  public static func slice(
    _ x: Tensor, starts: [Int], steps: [Int], sizes: [Int], _ context: ComputeContext
  ) throws(CetError) -> Tensor {
    let result = try Tensor(uninitialized: x.type, sizes, layout: x.layout, arena: context.arena)
    let order = storageOrder(rank: sizes.count, layout: result.layout)
    let own = x.strides
    try copy(
      extents: sizes.permuted(order), from: x, offset: zip(starts, own).reduce(0) { $0 + $1.0 * $1.1 },
      strides: zip(own, steps).map { $0 * $1 }.permuted(order), to: result, targetOffset: 0,
      targetStrides: result.strides.permuted(order), context)
    return result
  }

  /// Writes x into `target` at starts with steps: the transpose of `slice`.
  public static func embed(_ x: Tensor, into target: Tensor, starts: [Int], steps: [Int], _ context: ComputeContext) throws(CetError) {
    let order = storageOrder(rank: target.rank, layout: target.layout)
    let strides = target.strides
    try copy(
      extents: x.shape.permuted(order), from: x, offset: 0, strides: x.strides.permuted(order), to: target,
      targetOffset: zip(starts, strides).reduce(0) { $0 + $1.0 * $1.1 },
      targetStrides: zip(strides, steps).map { $0 * $1 }.permuted(order), context)
  }
}
