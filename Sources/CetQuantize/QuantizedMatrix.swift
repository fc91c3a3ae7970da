import CetTensor

/// Codes of a rows × columns matrix and the grid that gives them values.
public struct QuantizedMatrix: Sendable {
  public internal(set) var grid: AffineGrid
  /// Row-major, one code 0 … 2^bits − 1 per byte.
  public internal(set) var codes: [UInt8]

  public var bits: Int { grid.bits }
  public var rows: Int { grid.rows }
  public var columns: Int { grid.columns }
  public var granularity: Granularity { grid.granularity }
  public var blockSize: Int { grid.blockSize }
  public var scales: [Float] { grid.scales }
  public var zeroPoints: [UInt8] { grid.zeroPoints }

  public init(grid: AffineGrid, codes: [UInt8]) throws {
    guard codes.count == grid.rows * grid.columns else {
      throw CetError(.shapeMismatch, "a \([grid.rows, grid.columns].shapeText) matrix got \(codes.count) codes")
    }
    if let code = codes.max(), Int(code) > grid.highestCode {
      throw CetError(.invalidArgument, "code \(code) does not fit \(grid.bits) bits")
    }
    self.grid = grid
    self.codes = codes
  }

  /// Codes that a rounding routine made, already inside the range.
  init(unchecked grid: AffineGrid, codes: [UInt8]) {
    self.grid = grid
    self.codes = codes
  }

  /// value = (code − zero point / zeroUnit) · scale, row-major.
  public func dequantize() -> [Float] {
    let columns = self.columns
    let blocks = grid.blocksPerRow
    let size = grid.blockSize
    return [Float](unsafeUninitializedCapacity: codes.count) { target, count in
      codes.withUnsafeBufferPointer { codes in
        for row in 0..<rows {
          for block in 0..<blocks {
            let index = grid.index(row: row, block: block)
            let scale = grid.scales[index]
            let zero = grid.zero(index)
            for i in (row * columns + block * size)..<(row * columns + min((block + 1) * size, columns)) {
              target[i] = (Float(codes[i]) - zero) * scale
            }
          }
        }
      }
      count = codes.count
    }
  }

  /// Multiplies the scales of each row by a positive factor (one factor per row). Per tensor there is one
  /// scale: it takes the factor of the first row, so the caller passes equal factors.
  public mutating func scaleRows(by factors: [Float]) throws {
    guard factors.count == rows else {
      throw CetError(.shapeMismatch, "\(rows) rows got \(factors.count) factors")
    }
    for factor in factors where !(factor > 0 && factor.isFinite) {
      throw CetError(.numeric, "a row factor must be positive and finite, got \(factor)")
    }
    let blocks = grid.blocksPerRow
    if granularity == .perTensor {
      if let factor = factors.first { grid.scales[0] *= factor }
    } else {
      for row in 0..<rows {
        for block in 0..<blocks { grid.scales[row * blocks + block] *= factors[row] }
      }
    }
  }
}
