/// Shapes are plain arrays of non-negative sizes; rank 0 is a scalar.
extension Array where Element == Int {
  /// Number of elements of a shape. Traps never: shapes of tensors were validated by `validatedCount`.
  public var elementCount: Int { reduce(1, &*) }

  /// Number of elements of a shape from a file or a caller; nil when a size is negative or the product overflows.
  public var validatedCount: Int? {
    var count = 1
    for size in self {
      guard size >= 0 else { return nil }
      let (product, overflow) = count.multipliedReportingOverflow(by: size)
      guard !overflow, product <= 1 << 46 else { return nil }
      count = product
    }
    return count
  }

  /// Strides in elements of the C-ordered array of this shape.
  public var rowMajorStrides: [Int] {
    var strides = [Int](repeating: 1, count: count)
    var running = 1
    for axis in indices.reversed() {
      strides[axis] = running
      running &*= Swift.max(self[axis], 1)
    }
    return strides
  }

  /// "[2×3]", as messages show a shape.
  public var shapeText: String { "[" + map(String.init).joined(separator: "×") + "]" }
}

/// The shape that two shapes broadcast to (ONNX "Multidirectional Broadcasting"), nil when they do not.
public func broadcastShape(_ a: [Int], _ b: [Int]) -> [Int]? {
  let rank = max(a.count, b.count)
  var result = [Int](repeating: 1, count: rank)
  for axis in 0..<rank {
    let x = axis < rank - a.count ? 1 : a[axis - (rank - a.count)]
    let y = axis < rank - b.count ? 1 : b[axis - (rank - b.count)]
    guard x == y || x == 1 || y == 1 else { return nil }
    result[axis] = x == 1 ? y : x
  }
  return result
}
