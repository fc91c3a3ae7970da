import CetTensor

/// Scales and zero points of a matrix: value = (code − zero point) · scale, codes 0 … 2^bits − 1
/// (uniform affine quantizer, arXiv 2502.15802 Eq. 2, with ONNX's integer zero point).
public struct AffineGrid: Sendable {
  /// 1 … 8.
  public let bits: Int
  public let rows: Int
  public let columns: Int
  public let granularity: Granularity
  /// [rows × blocksPerRow] row-major, one value when per tensor. Finite and positive.
  public internal(set) var scales: [Float]
  public internal(set) var zeroPoints: [UInt8]
  /// What zero points count in: 1, or 2 for halves. value = (code − zero point / zeroUnit) · scale. A zero point between
  /// two codes makes the four levels of 2 bits symmetric, which integer zero points cannot.
  public let zeroUnit: Int

  public init(
    bits: Int, rows: Int, columns: Int, granularity: Granularity, scales: [Float], zeroPoints: [UInt8],
    zeroUnit: Int = 1
  ) throws(CetError) {
    let blocks = try AffineGrid.blocks(bits: bits, rows: rows, columns: columns, granularity: granularity)
    let expected = granularity == .perTensor ? 1 : rows * blocks
    guard scales.count == expected, zeroPoints.count == expected else {
      throw CetError(
        .shapeMismatch,
        "the grid of a \([rows, columns].shapeText) matrix needs \(expected) scales and zero points, got \(scales.count) and \(zeroPoints.count)")
    }
    for scale in scales where !(scale > 0 && scale.isFinite) {
      throw CetError(.invalidArgument, "a scale must be positive and finite, got \(scale)")
    }
    guard zeroUnit == 1 || zeroUnit == 2 else {
      throw CetError(.invalidArgument, "zero points count in units of 1 or 1/2, got 1/\(zeroUnit)")
    }
    for zero in zeroPoints where Int(zero) > zeroUnit * ((1 << bits) - 1) {
      throw CetError(.invalidArgument, "zero point \(zero) does not fit \(bits) bits")
    }
    self.bits = bits
    self.rows = rows
    self.columns = columns
    self.granularity = granularity
    self.scales = scales
    self.zeroPoints = zeroPoints
    self.zeroUnit = zeroUnit
  }

  public var highestCode: Int { (1 << bits) - 1 }

  /// A zero point in codes.
  @inline(__always)
  func zero(_ index: Int) -> Float { Float(zeroPoints[index]) / Float(zeroUnit) }

  /// Scales along one row: 1 unless blocked.
  public var blocksPerRow: Int { AffineGrid.blockCount(columns, granularity) }

  /// Columns that share a scale inside a row.
  public var blockSize: Int { AffineGrid.blockSize(columns, granularity) }

  /// Position of a row's block in `scales`.
  @inline(__always)
  public func index(row: Int, block: Int) -> Int { granularity == .perTensor ? 0 : row * blocksPerRow + block }

  static func blockSize(_ columns: Int, _ granularity: Granularity) -> Int {
    if case .block(let size) = granularity { return max(1, min(size, columns)) }
    return max(1, columns)
  }

  static func blockCount(_ columns: Int, _ granularity: Granularity) -> Int {
    let size = blockSize(columns, granularity)
    return max(1, (columns + size - 1) / size)
  }

  /// Blocks per row after checking every argument.
  static func blocks(bits: Int, rows: Int, columns: Int, granularity: Granularity) throws(CetError) -> Int {
    guard (1...8).contains(bits) else { throw CetError(.invalidArgument, "bits must be 1 to 8, got \(bits)") }
    guard [rows, columns].validatedCount != nil else {
      throw CetError(.shapeMismatch, "shape \([rows, columns].shapeText) is negative or too large")
    }
    if case .block(let size) = granularity, size < 1 {
      throw CetError(.invalidArgument, "block size must be at least 1, got \(size)")
    }
    return blockCount(columns, granularity)
  }
}
