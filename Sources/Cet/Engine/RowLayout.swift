
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
  private let axis: Int

  init(_ tensor: QuantizedTensor) {
    axis = tensor.axis ?? 0
    rows = tensor.axis.map { tensor.shape[$0] } ?? 1
    columns = rows > 0 ? tensor.count / rows : 0
    let others = tensor.shape.indices.filter { $0 != (tensor.axis ?? -1) }
    rowsFirstShape = tensor.axis == nil ? tensor.shape : [rows] + others.map { tensor.shape[$0] }
    if tensor.blockSize > 0, tensor.axis != nil {
      let blocks = (columns + tensor.blockSize - 1) / tensor.blockSize
      paddedColumns = blocks * tensor.blockSize
      codeShape = [rows, blocks, tensor.blockSize]
      gridShape = [rows, blocks, 1]
      needsReordering = true
    } else {
      paddedColumns = columns
      codeShape = tensor.shape
      let size = rows
      gridShape = tensor.shape.indices.map { $0 == tensor.axis ? size : 1 }
      needsReordering = false
    }
    let first = axis
    transposition = first == 0 ? [] : tensor.shape.indices.map { $0 == first ? 0 : ($0 < first ? $0 + 1 : $0) }
  }

  /// Codes in the order of `codeShape`; padding is zero.
  func padded(_ codes: [UInt8]) -> [UInt8] {
    needsReordering ? rowsFirst(codes, width: paddedColumns) : codes
  }

  /// One row for each index of the quantization axis, `width` columns from row to row.
  func rowsFirst(_ codes: [UInt8], width: Int) -> [UInt8] {
    let inner = axis + 1 < rowsFirstShape.count ? rowsFirstShape[(axis + 1)...].reduce(1, *) : 1
    var result = [UInt8](repeating: 0, count: rows * width)
    for row in 0..<rows {
      for column in 0..<columns {
        let (outer, i) = (column / inner, column % inner)
        result[row * width + column] = codes[(outer * rows + row) * inner + i]
      }
    }
    return result
  }
}
