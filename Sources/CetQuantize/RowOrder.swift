import CetTensor

/// A tensor seen as a matrix with one row for each index of an axis: element (o, r, i) of the C order, r on the axis, o
/// before it and i after it, is element (r, o, i) with the rows first. Without an axis there is one row.
public struct RowOrder: Sendable, Equatable {
  public let outer: Int
  public let rows: Int
  public let inner: Int
  public let columns: Int

  /// - Parameter axis: inside the shape.
  public init(_ shape: [Int], axis: Int?) {
    outer = axis.map { Array(shape[..<$0]).elementCount } ?? 1
    rows = axis.map { shape[$0] } ?? 1
    inner = axis.map { Array(shape[($0 + 1)...]).elementCount } ?? shape.elementCount
    columns = shape.elementCount / max(rows, 1)
  }

  /// Blocks of so many columns (0: all of them) that a row is cut into, the last of which may be shorter.
  public func blockCount(size: Int) -> Int { size > 0 ? max(1, (columns + size - 1) / size) : 1 }

  /// The rows of codes in C order, each `width` codes from the next: at least `columns`, and zeros between them.
  public func paddedRows(_ codes: [UInt8], width: Int) -> [UInt8] {
    let dense = rowsFirst(codes)
    guard width != columns else { return dense }
    var result = [UInt8](repeating: 0, count: rows * width)
    for row in 0..<(dense.isEmpty ? 0 : rows) {
      for column in 0..<columns { result[row * width + column] = dense[row * columns + column] }
    }
    return result
  }

  /// The rows of a tensor in C order.
  func rowsFirst<Element>(_ values: [Element]) -> [Element] { exchanged(values, outer, rows) }

  /// The C order of a tensor whose rows are first in `values`.
  func tensorOrder<Element>(_ values: [Element]) -> [Element] { exchanged(values, rows, outer) }

  /// [first, second, inner] as [second, first, inner].
  private func exchanged<Element>(_ values: [Element], _ first: Int, _ second: Int) -> [Element] {
    guard outer > 1, !values.isEmpty else { return values }
    return [Element](unsafeUninitializedCapacity: values.count) { target, count in
      for s in 0..<second {
        for f in 0..<first {
          let (to, from) = ((s * first + f) * inner, (f * second + s) * inner)
          for i in 0..<inner { target.initializeElement(at: to + i, to: values[from + i]) }
        }
      }
      count = values.count
    }
  }
}
