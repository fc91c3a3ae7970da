/// TensorMap maps with broadcasting over any layouts. The closures are inlined into the row loops, which
/// the compiler then vectorises.
public enum TensorMap {
  @inline(__always)
  public static func unary<X: TensorElement, Y: TensorElement>(
    _ x: Tensor, _ context: ComputeContext, _ f: (X) -> Y
  ) throws(CetError) -> Tensor {
    let result = try Tensor(uninitialized: Y.elementType, x.shape, layout: x.layout, arena: context.arena)
    let input = UnsafePointer(x.elements(as: X.self))
    let output = result.elements(as: Y.self)
    try context.pieces(x.count) { piece in
      for index in piece { output[index] = f(input[index]) }
    }
    return result
  }

  @inline(__always)
  public static func binary<X: TensorElement, Y: TensorElement>(
    _ a: Tensor, _ b: Tensor, _ context: ComputeContext, _ f: (X, X) -> Y
  ) throws(CetError) -> Tensor {
    let (a, b, result, walk) = try prepare(a, b, Y.elementType, context)
    let left = UnsafePointer(a.elements(as: X.self))
    let right = UnsafePointer(b.elements(as: X.self))
    let output = result.elements(as: Y.self)
    let (sa, sb) = (walk.rowStride(1), walk.rowStride(2))
    try walk.forEachRow(context) { offsets, count in
      let z = output + offsets[0]
      let x = left + offsets[1]
      let y = right + offsets[2]
      if sa == 1 && sb == 1 {
        for i in 0..<count { z[i] = f(x[i], y[i]) }
      } else if sa == 1 && sb == 0 {
        let constant = y[0]
        for i in 0..<count { z[i] = f(x[i], constant) }
      } else if sa == 0 && sb == 1 {
        let constant = x[0]
        for i in 0..<count { z[i] = f(constant, y[i]) }
      } else {
        for i in 0..<count { z[i] = f(x[i * sa], y[i * sb]) }
      }
    }
    return result
  }

  /// One float32 array through a vector kernel.
  public static func vector(_ x: Tensor, _ context: ComputeContext, _ function: Elementwise.Unary) throws(CetError) -> Tensor {
    let result = try Tensor(uninitialized: .float32, x.shape, layout: x.layout, arena: context.arena)
    try context.pieces(x.count) { piece in
      Elementwise.apply(function, x.floats + piece.lowerBound, into: result.floats + piece.lowerBound, count: piece.count)
    }
    return result
  }

  /// `binary` for float32 with a vector kernel for each row.
  public static func vector(
    _ a: Tensor, _ b: Tensor, _ context: ComputeContext, _ operation: Elementwise.Binary
  ) throws(CetError) -> Tensor {
    let swapped = operation.swapped
    return try rows(a, b, context) { x, sa, y, sb, z, count in
      if sa == 1 && sb == 1 {
        Elementwise.apply(operation, x, y, into: z, count: count)
      } else if sb == 0 {
        Elementwise.apply(operation, x, scalar: y[0], into: z, count: count)
      } else {
        Elementwise.apply(swapped, y, scalar: x[0], into: z, count: count)
      }
    }
  }

  /// x > 0 ? g : 0 for float32 with broadcasting.
  public static func gate(_ x: Tensor, _ g: Tensor, _ context: ComputeContext) throws(CetError) -> Tensor {
    try rows(x, g, context) { x, sx, g, sg, z, count in
      if sx == 1 && sg == 1 {
        Elementwise.reluMask(x, g, into: z, count: count)
      } else {
        for i in 0..<count { z[i] = x[i * sx] > 0 ? g[i * sg] : 0 }
      }
    }
  }

  private typealias Row = (
    UnsafePointer<Float>, Int, UnsafePointer<Float>, Int, UnsafeMutablePointer<Float>, Int
  ) -> Void

  /// Calls `body(a, stride, b, stride, result, count)` for every row; at least one stride is 1 and the other 0
  /// or 1. Rows with other strides are gathered first.
  private static func rows(_ a: Tensor, _ b: Tensor, _ context: ComputeContext, _ body: Row) throws(CetError) -> Tensor {
    let (a, b, result, walk) = try prepare(a, b, .float32, context)
    let (sa, sb) = (walk.rowStride(1), walk.rowStride(2))
    let longest = min(walk.rowCount, ComputeContext.pieceSize)
    let regular = (0...1).contains(sa) && (0...1).contains(sb) && sa + sb > 0
    let scratch = try Tensor(uninitialized: .float32, [regular ? 0 : 2 * longest], arena: context.arena)
    try walk.forEachRow(context) { offsets, count in
      let z = result.floats + offsets[0]
      let x = UnsafePointer(a.floats) + offsets[1]
      let y = UnsafePointer(b.floats) + offsets[2]
      if regular {
        body(x, sa, y, sb, z, count)
      } else {
        let (u, v) = (scratch.floats, scratch.floats + longest)
        for i in 0..<count { (u[i], v[i]) = (x[i * sa], y[i * sb]) }
        body(u, 1, v, 1, z, count)
      }
    }
    return result
  }

  /// The common layout, the result's memory and the walk (operands: result, a, b) of a binary map.
  private static func prepare(
    _ a: Tensor, _ b: Tensor, _ element: ElementType, _ context: ComputeContext
  ) throws(CetError) -> (Tensor, Tensor, Tensor, StridedWalk) {
    guard let shape = broadcastShape(a.shape, b.shape) else {
      throw CetError(.shapeMismatch, "shapes \(a.shape.shapeText) and \(b.shape.shapeText) do not broadcast")
    }
    var (a, b) = (a, b)
    let layout: Layout =
      (a.layout == .channelsLast && a.rank == shape.count) || (b.layout == .channelsLast && b.rank == shape.count)
      ? .channelsLast : .rowMajor
    // A blocked transposition is faster than strided reads of a whole operand.
    if a.shape == shape { a = try a.converted(to: layout, arena: context.arena) }
    if b.shape == shape { b = try b.converted(to: layout, arena: context.arena) }
    let result = try Tensor(uninitialized: element, shape, layout: layout, arena: context.arena)
    let order = storageOrder(rank: shape.count, layout: result.layout)
    let walk = StridedWalk(
      extents: shape.permuted(order),
      strides: [
        result.strides.permuted(order), a.broadcastStrides(to: shape).permuted(order),
        b.broadcastStrides(to: shape).permuted(order),
      ])
    return (a, b, result, walk)
  }
}
