import CetQuantize

/// The order and shape in which codes are unpacked, so that scales broadcast against them.
struct RowLayout {
  let rows: Int
  let columns: Int
  let paddedColumns: Int
  /// Shape of the codes before the grid is applied.
  let codeShape: [Int]
  /// Shape of scales and zero points.
  let gridShape: [Int]
  /// Blocked grids work on [rows, blocks, block size] with the quantization axis first.
  let needsReordering: Bool
  let rowsFirstShape: [Int]
  /// From rows first back to the tensor's order; empty when that is the same.
  let transposition: [Int]
  let order: RowOrder

  init(_ form: QuantizedForm) {
    order = form.order
    rows = order.rows
    columns = order.columns
    let others = form.shape.indices.filter { $0 != form.axis }
    rowsFirstShape = form.axis == nil ? form.shape : [order.rows] + others.map { form.shape[$0] }
    if form.blockSize > 0 {
      paddedColumns = form.blocksPerRow * form.blockSize
      codeShape = [order.rows, form.blocksPerRow, form.blockSize]
      gridShape = [order.rows, form.blocksPerRow, 1]
      needsReordering = true
    } else {
      paddedColumns = order.columns
      codeShape = form.shape
      gridShape = form.shape.indices.map { $0 == form.axis ? form.shape[$0] : 1 }
      needsReordering = false
    }
    let first = form.axis ?? 0
    transposition = first == 0 ? [] : form.shape.indices.map { $0 == first ? 0 : ($0 < first ? $0 + 1 : $0) }
  }

  /// Number of codes with their padding.
  var paddedCount: Int { needsReordering ? rows * paddedColumns : rows * columns }

  /// Codes in the order of `codeShape`; padding is zero.
  func padded(_ codes: [UInt8]) -> [UInt8] {
    needsReordering ? order.paddedRows(codes, width: paddedColumns) : codes
  }

  /// One row for each index of the quantization axis.
  func rowsFirst(_ codes: [UInt8]) -> [UInt8] { order.paddedRows(codes, width: columns) }
}
