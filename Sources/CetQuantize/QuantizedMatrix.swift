import CetTensor

/// Codes of a rows × columns matrix and what gives them values.
public struct QuantizedMatrix: Sendable {
  /// Of a trellis the grid has the scales; its zero points are 0 and stand for nothing.
  public internal(set) var grid: AffineGrid
  /// Row-major, one code 0 … 2^bits − 1 per byte.
  public internal(set) var codes: [UInt8]
  public let coding: Coding
  /// The order of a row's steps through a trellis.
  let walk: TrellisWalk

  public var bits: Int { grid.bits }
  public var rows: Int { grid.rows }
  public var columns: Int { grid.columns }
  public var granularity: Granularity { grid.granularity }
  public var blockSize: Int { grid.blockSize }
  public var scales: [Float] { grid.scales }
  public var zeroPoints: [UInt8] { grid.zeroPoints }

  public init(grid: AffineGrid, codes: [UInt8]) throws(CetError) {
    guard codes.count == grid.rows * grid.columns else {
      throw CetError(.shapeMismatch, "a \([grid.rows, grid.columns].shapeText) matrix got \(codes.count) codes")
    }
    if let code = codes.max(), Int(code) > grid.highestCode {
      throw CetError(.invalidArgument, "code \(code) does not fit \(grid.bits) bits")
    }
    self.grid = grid
    self.codes = codes
    coding = .affine
    walk = .straight
  }

  /// Codes that a rounding routine made, already inside the range.
  init(unchecked grid: AffineGrid, codes: [UInt8], coding: Coding = .affine, walk: TrellisWalk = .straight) {
    self.grid = grid
    self.codes = codes
    self.coding = coding
    self.walk = walk
  }

  /// What scales multiply: codes without their zero points, or the values of a trellis; row-major.
  private func levels() -> [Float]? {
    guard case .trellis(let code) = coding else { return nil }
    return code.levels(codes, rows: rows, columns: columns, bits: bits, walk)
  }

  /// value = level · scale, row-major; a level is code − zero point / zeroUnit, or T[state].
  public func dequantize() -> [Float] {
    let levels = levels()
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
              target[i] = (levels?[i] ?? (Float(codes[i]) - zero)) * scale
            }
          }
        }
      }
      count = codes.count
    }
  }

  /// Multiplies all values by a power of two. A scale that would leave float32 stays at its end.
  public mutating func scale(byPowerOfTwo exponent: Int) {
    guard exponent != 0 else { return }
    for index in grid.scales.indices {
      let scale = Float(sign: .plus, exponent: exponent, significand: grid.scales[index])
      grid.scales[index] = min(max(scale, .leastNonzeroMagnitude), .greatestFiniteMagnitude)
    }
  }

  /// Makes smaller the scales of grids whose codes stand for values beyond ±largest, as far as it takes: a file's type
  /// has none beyond its largest number.
  public mutating func limit(to largest: Float) {
    let levels = levels()
    for index in grid.scales.indices {
      let zero = grid.zero(index)
      let reach =
        if case .trellis(let code) = coding { code.largest * Float(walk.rotation).squareRoot() } else { max(zero, Float(grid.highestCode) - zero) }
      guard reach * grid.scales[index] > largest else { continue }
      let steps = members(of: index).reduce(Float(0)) { max($0, abs(levels?[$1] ?? (Float(codes[$1]) - zero))) }
      if steps * grid.scales[index] > largest { grid.scales[index] = largest / steps }
      while steps * grid.scales[index] > largest { grid.scales[index] = grid.scales[index].nextDown }
    }
  }

  /// Gives every scale of a grid the nearest value above zero that float16 has, none of which makes a code stand for more than
  /// `largest`. Below float16's normal numbers that may move values by a good part of a step: the next larger one, whose grid reaches
  /// as far, is taken there, and codes follow.
  public mutating func narrowScales(largest: Float) {
    guard !coding.isTrellis else { return }
    func movesCodes(_ old: Float, _ half: UInt16) -> Bool {
      abs(old / HalfPrecision.float(fromHalf: half) - 1) * Float(grid.highestCode) > 0.25
    }
    for index in grid.scales.indices {
      let (old, zero) = (grid.scales[index], grid.zero(index))
      var half = max(1, HalfPrecision.half(from: min(old, 65504)))
      if HalfPrecision.float(fromHalf: half) < old, movesCodes(old, half) { half += 1 }
      if max(zero, Float(grid.highestCode) - zero) * HalfPrecision.float(fromHalf: half) > largest {
        let steps = members(of: index).reduce(Float(0)) { max($0, abs(Float(codes[$1]) - zero)) }
        while half > 1, steps * HalfPrecision.float(fromHalf: half) > largest { half -= 1 }
      }
      let new = HalfPrecision.float(fromHalf: half)
      grid.scales[index] = new
      guard movesCodes(old, half) else { continue }
      for member in members(of: index) {
        let moved = ((Float(codes[member]) - zero) * (old / new) + zero).rounded()
        codes[member] = UInt8(min(max(moved, 0), Float(grid.highestCode)))
      }
    }
  }

  /// Positions of the codes that have a scale.
  private func members(of index: Int) -> Range<Int> {
    if granularity == .perTensor { return 0..<codes.count }
    let (row, block) = index.quotientAndRemainder(dividingBy: grid.blocksPerRow)
    let start = row * columns + block * grid.blockSize
    return start..<min(start + grid.blockSize, (row + 1) * columns)
  }

  /// Multiplies the scales of each row by a positive factor (one factor per row). Per tensor there is one
  /// scale: it takes the factor of the first row, so the caller passes equal factors.
  public mutating func scaleRows(by factors: [Float]) throws(CetError) {
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
