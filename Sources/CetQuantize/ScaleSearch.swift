import CKernels
import CetTensor

/// Step 0: the grid of each row, block or tensor, before any rounding knows the input covariance.
public enum ScaleSearch {
  /// Scales below this are taken for an all-zero unit, whose grid is scale 1, zero point 0: the inverse of
  /// the scale must stay finite.
  static let smallestRange: Float = 1e-30

  /// The grid of least ‖Q(W) − W‖² among
  /// - bits ≤ 3: s = t · max|w| / max(z, 2^b − 1 − z) for every integer z (and every half where `zeroUnit` is 2), 40
  ///   values t in [0.15, 1];
  /// - 4 … 7 bits: the range (t · min(w, 0), t · max(w, 0)), and symmetric grids with z = 2^(b−1), the same t;
  /// - 8 bits: both of these at t = 1.
  /// - Parameter isSymmetric: whether all zero points are z = 2^(b−1): then s = t · max(−min w / z, max w / (z − 1)), the same t.
  public static func search(
    _ weights: WeightMatrix, bits: Int, granularity: Granularity, zeroUnit: Int = 1, isSymmetric: Bool = false,
    workers: Workers = Workers(threads: 1)
  ) throws(CetError) -> AffineGrid {
    let unit = bits <= 3 && zeroUnit == 2 && !isSymmetric ? 2 : 1
    let candidates = Candidates(bits: bits, zeroUnit: unit, isSymmetric: isSymmetric)
    let usual = isSymmetric ? UInt8(1 << (candidates.bits - 1)) : 0
    return try makeGrid(weights, bits: bits, granularity: granularity, zeroUnit: unit, usual, workers: workers) { x, count, range in
      candidates.best(x, count, range)
    }
  }

  /// Calls `choose(pointer, count, min(w,0)...max(w,0))` for every unit that is not all zero.
  /// - Parameter usual: the zero point of others.
  private static func makeGrid(
    _ weights: WeightMatrix, bits: Int, granularity: Granularity, zeroUnit: Int, _ usual: UInt8, workers: Workers,
    choose: (UnsafePointer<Float>, Int, ClosedRange<Float>) -> (Float, UInt8)
  ) throws(CetError) -> AffineGrid {
    let (rows, columns) = (weights.rows, weights.columns)
    let blocks = try AffineGrid.blocks(bits: bits, rows: rows, columns: columns, granularity: granularity)
    let size = AffineGrid.blockSize(columns, granularity)
    let units = granularity == .perTensor ? 1 : rows * blocks
    var scales = [Float](repeating: 1, count: units)
    var zeroPoints = [UInt8](repeating: usual, count: units)

    // A unit is never split, so the number of tasks does not touch its result.
    let unitsPerTask = granularity == .perTensor ? 1 : max(1, min(units, 65536 / size))
    let tasks = (units + unitsPerTask - 1) / unitsPerTask
    guard !weights.values.isEmpty else {
      return try AffineGrid(bits: bits, rows: rows, columns: columns, granularity: granularity, scales: scales, zeroPoints: zeroPoints,
        zeroUnit: zeroUnit)
    }
    try weights.values.withUnsafeBufferPointer { values throws(CetError) in
      guard let base = values.baseAddress else { return }
      try scales.withUnsafeMutableBufferPointer { scales throws(CetError) in
        try zeroPoints.withUnsafeMutableBufferPointer { zeroPoints throws(CetError) in
          try workers.forEach(tasks) { task in
            for unit in (task * unitsPerTask)..<min((task + 1) * unitsPerTask, units) {
              let (row, block) = (unit / blocks, unit % blocks)
              let start = granularity == .perTensor ? 0 : row * columns + block * size
              let count = granularity == .perTensor ? rows * columns : min(size, columns - block * size)
              var low: Float = 0
              var high: Float = 0
              guard ck_range_f32(base + start, &low, &high, count) else {
                throw CetError(.numeric, "the weights hold a value that is not finite in row \(row)")
              }
              let range = min(low, 0)...max(high, 0)
              guard max(-range.lowerBound, range.upperBound) > smallestRange else { continue }
              (scales[unit], zeroPoints[unit]) = choose(base + start, count, range)
            }
          }
        }
      }
    }
    return try AffineGrid(bits: bits, rows: rows, columns: columns, granularity: granularity, scales: scales, zeroPoints: zeroPoints,
        zeroUnit: zeroUnit)
  }

  /// The values of t: n of them, evenly from low to high.
  public static func evenly(_ n: Int, from low: Float, to high: Float) -> [Float] {
    (0..<n).map { n == 1 ? high : low + (high - low) * Float($0) / Float(n - 1) }
  }

  /// The candidate grids of a bit width, in units of the range.
  private struct Candidates: Sendable {
    let bits: Int
    let zeroUnit: Int
    private let isSymmetric: Bool
    private let factors: [Float]

    init(bits: Int, zeroUnit: Int, isSymmetric: Bool) {
      self.zeroUnit = zeroUnit
      self.isSymmetric = isSymmetric
      self.bits = min(max(bits, 1), 8)
      factors = bits >= 8 ? [1] : ScaleSearch.evenly(40, from: 0.15, to: 1)
    }

    func best(_ x: UnsafePointer<Float>, _ count: Int, _ range: ClosedRange<Float>) -> (Float, UInt8) {
      let highest = (1 << bits) - 1
      let largest = max(-range.lowerBound, range.upperBound)
      // Zero points in units of 1 / zeroUnit.
      var grids: [(scale: Float, zero: Int)] = []
      if isSymmetric {
        let middle = 1 << (bits - 1)
        let widest = max(-range.lowerBound / Float(middle), range.upperBound / Float(max(1, middle - 1)))
        for t in factors { grids.append((t * widest, middle)) }
      } else if bits <= 3 {
        let end = highest * zeroUnit
        for zero in 0...end {
          for t in factors { grids.append((t * largest * Float(zeroUnit) / Float(max(zero, end - zero)), zero)) }
        }
      } else {
        let width = range.upperBound - range.lowerBound
        let zero = Int((-range.lowerBound / width * Float(highest)).rounded(.toNearestOrEven))
        let middle = 1 << (bits - 1)
        for t in factors { grids.append((t * width / Float(highest), min(max(zero, 0), highest))) }
        for t in factors { grids.append((t * largest / Float(middle - 1), middle)) }
      }
      // The kernel works on multiples of 16 candidates: the last one is repeated.
      let padded = (grids.count + 15) / 16 * 16
      let last = grids[grids.count - 1]
      return withUnsafeTemporaryAllocation(of: Float.self, capacity: 3 * padded) { f in
        withUnsafeTemporaryAllocation(of: Double.self, capacity: padded) { errors in
          guard let f = f.baseAddress, let errors = errors.baseAddress else { return (last.scale, UInt8(last.zero)) }
          for c in 0..<padded {
            let grid = c < grids.count ? grids[c] : last
            f[c] = 1 / grid.scale
            f[padded + c] = -Float(grid.zero) / Float(zeroUnit)
            f[2 * padded + c] = Float(highest) - Float(grid.zero) / Float(zeroUnit)
          }
          ck_grid_errors(x, f, f + padded, f + 2 * padded, errors, padded, count)
          var best = 0
          var least = Double.infinity
          for c in 0..<grids.count {
            let error = errors[c] * Double(grids[c].scale) * Double(grids[c].scale)
            if error < least { (least, best) = (error, c) }
          }
          return (grids[best].scale, UInt8(grids[best].zero))
        }
      }
    }
  }
}
