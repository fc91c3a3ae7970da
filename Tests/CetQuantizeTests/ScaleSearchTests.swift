import CetTensor
import Testing

@testable import CetQuantize

@Suite struct ScaleSearchTests {
  static let granularities: [Granularity] = [.perTensor, .perAxis, .block(16), .block(7)]

  static func squaredError(_ weights: WeightMatrix, _ matrix: QuantizedMatrix) -> Double {
    zip(weights.values, matrix.dequantize()).reduce(0) { $0 + Double($1.0 - $1.1) * Double($1.0 - $1.1) }
  }

  /// Eq. 2 with the plain range: s = (hi − lo) / (2^b − 1), z = round(−lo / s), lo = min(w, 0), hi = max(w, 0).
  static func minMax(_ weights: WeightMatrix, bits: Int, granularity: Granularity) throws -> AffineGrid {
    let blocks = granularity == .perTensor ? 1 : AffineGrid.blockCount(weights.columns, granularity)
    let size = AffineGrid.blockSize(weights.columns, granularity)
    let units = granularity == .perTensor ? 1 : weights.rows * blocks
    var ranges = [(low: Float, high: Float)](repeating: (0, 0), count: units)
    for (i, value) in weights.values.enumerated() {
      let unit = granularity == .perTensor ? 0 : i / weights.columns * blocks + i % weights.columns / size
      ranges[unit] = (min(ranges[unit].low, value), max(ranges[unit].high, value))
    }
    let highest = Float((1 << bits) - 1)
    let scales = ranges.map { ($0.high - $0.low) / highest }
    let zeros = zip(ranges, scales).map { UInt8((-$0.low / $1).rounded(.toNearestOrEven)) }
    return try AffineGrid(
      bits: bits, rows: weights.rows, columns: weights.columns, granularity: granularity, scales: scales, zeroPoints: zeros)
  }

  @Test(arguments: granularities) func everyWidth_search_noWorseThanMinMax(granularity: Granularity) throws {
    let weights = try Problems.weights(rows: 13, columns: 50, seed: 1)
    var previous = Double.infinity
    for bits in 1...8 {
      let searched = try MatrixRounding.nearest(
        weights, grid: ScaleSearch.search(weights, bits: bits, granularity: granularity))
      let plain = try MatrixRounding.nearest(weights, grid: Self.minMax(weights, bits: bits, granularity: granularity))
      let error = ScaleSearchTests.squaredError(weights, searched)
      #expect(error <= ScaleSearchTests.squaredError(weights, plain) * 1.02, "\(bits) bits")
      #expect(error < previous)
      previous = error
    }
  }

  /// Step 0 written out in double for one row.
  @Test(arguments: [1, 2, 3, 4, 6]) func oneRow_search_bestOfAllCandidates(bits: Int) throws {
    let weights = try Problems.weights(rows: 1, columns: 77, seed: UInt64(bits))
    let highest = Double((1 << bits) - 1)
    let largest = weights.values.map { abs(Double($0)) }.max() ?? 0
    let (lo, hi) = (Double(weights.values.min() ?? 0), Double(weights.values.max() ?? 0))
    var candidates: [(Double, Double)] = []
    for i in 0..<40 {
      let t = 0.15 + 0.85 * Double(i) / 39
      if bits <= 3 {
        for z in 0...Int(highest) { candidates.append((t * largest / max(Double(z), highest - Double(z)), Double(z))) }
      } else {
        candidates.append((t * (hi - lo) / highest, (-lo / (hi - lo) * highest).rounded(.toNearestOrEven)))
        candidates.append((t * largest / Double((1 << (bits - 1)) - 1), Double(1 << (bits - 1))))
      }
    }
    let least = candidates.map { s, z in
      weights.values.reduce(0.0) {
        let q = min(max((Double($1) / s).rounded(.toNearestOrEven) + z, 0), highest)
        return $0 + ((q - z) * s - Double($1)) * ((q - z) * s - Double($1))
      }
    }.min() ?? 0
    let found = try MatrixRounding.nearest(weights, grid: ScaleSearch.search(weights, bits: bits, granularity: .perAxis))
    #expect(abs(ScaleSearchTests.squaredError(weights, found) - least) <= 1e-4 * least)
  }

  @Test func zeroRowsAndTinyValues_search_exactZeros() throws {
    let weights = try WeightMatrix([0, 0, 0, 1e-38, -1e-40, 0, 1, -1, 0.5], rows: 3, columns: 3)
    for granularity in [Granularity.perAxis, .perTensor, .block(2)] {
      for bits in 1...8 {
        let grid = try ScaleSearch.search(weights, bits: bits, granularity: granularity)
        #expect(grid.scales.allSatisfy { $0 > 0 && $0.isFinite })
        let values = try MatrixRounding.nearest(weights, grid: grid).dequantize()
        if bits > 1 { #expect(values[..<6].allSatisfy { abs($0) <= 1e-30 }) }
      }
    }
  }

  @Test func constantRows_minMax_reproduced() throws {
    let weights = try WeightMatrix([3, 3, -2, -2], rows: 2, columns: 2)
    let matrix = try MatrixRounding.nearest(weights, grid: Self.minMax(weights, bits: 3, granularity: .perAxis))
    for (x, y) in zip(matrix.dequantize(), weights.values) { #expect(abs(x - y) < 1e-6) }
  }

  @Test func nanWeights_search_throwsNumeric() throws {
    let weights = try WeightMatrix([1, .nan], rows: 1, columns: 2)
    do {
      _ = try ScaleSearch.search(weights, bits: 3, granularity: .perAxis)
      Issue.record("no error")
    } catch { #expect(error.code == .numeric) }
    #expect(throws: CetError.self) { try ScaleSearch.search(weights, bits: 9, granularity: .perAxis) }
    #expect(throws: CetError.self) { try ScaleSearch.search(weights, bits: 3, granularity: .block(0)) }
  }

  @Test func threads_search_sameBits() throws {
    let weights = try Problems.weights(rows: 200, columns: 900, seed: 4)
    let one = try ScaleSearch.search(weights, bits: 3, granularity: .perAxis, workers: Workers(threads: 1))
    let three = try ScaleSearch.search(weights, bits: 3, granularity: .perAxis, workers: Workers(threads: 3))
    #expect(one.scales == three.scales && one.zeroPoints == three.zeroPoints)
  }

  @Test(arguments: [2, 3, 4, 7, 8]) func symmetric_search_middleZeroPointsOfLeastError(bits: Int) throws {
    let weights = try WeightMatrix([-3, -1, 1, 2.5, 0, 0, 0, 0, 0.1, 0.5, 2, 4], rows: 3, columns: 4)
    for granularity in [Granularity.perAxis, .perTensor, .block(3)] {
      let grid = try ScaleSearch.search(weights, bits: bits, granularity: granularity, zeroUnit: 2, isSymmetric: true)
      #expect(grid.zeroUnit == 1 && grid.zeroPoints.allSatisfy { $0 == 1 << (bits - 1) })
    }
    let middle = Double(1 << (bits - 1))
    let found = try MatrixRounding.nearest(
      weights, grid: ScaleSearch.search(weights, bits: bits, granularity: .perAxis, isSymmetric: true), coding: .symmetric)
    #expect(found.coding == .symmetric)
    for row in 0..<3 {
      let values = weights.values[(row * 4)..<(row * 4 + 4)].map(Double.init)
      let widest = max(-(values.min() ?? 0) / middle, (values.max() ?? 0) / (middle - 1))
      let scales = bits == 8 ? [widest] : (0..<40).map { widest * (0.15 + 0.85 * Double($0) / 39) }
      let errors = scales.filter { $0 > 0 }.map { scale in
        values.reduce(0.0) {
          let error = min(max(($1 / scale).rounded(.toNearestOrEven), -middle), middle - 1) * scale - $1
          return $0 + error * error
        }
      }
      let made = found.dequantize()[(row * 4)..<(row * 4 + 4)].map(Double.init)
      let error = zip(made, values).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
      #expect(abs(error - (errors.min() ?? 0)) <= 1e-5)
    }
  }

  @Test func halves_makeTwoBitsSymmetric() throws {
    let weights = try WeightMatrix([-3, -1, 1, 3], rows: 1, columns: 4)
    let grid = try ScaleSearch.search(weights, bits: 2, granularity: .perAxis, zeroUnit: 2)
    #expect(grid.zeroUnit == 2)
    let rounded = try MatrixRounding.nearest(weights, grid: grid)
    let half = zip(rounded.dequantize(), weights.values).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
    #expect(half < 1e-6)
    #expect(grid.zeroPoints == [3])
    #expect(rounded.codes == [0, 1, 2, 3])
    let whole = try MatrixRounding.nearest(weights, grid: ScaleSearch.search(weights, bits: 2, granularity: .perAxis))
    #expect(zip(whole.dequantize(), weights.values).contains { abs($0 - $1) > 0.3 })
    // More bits have levels enough.
    #expect(try ScaleSearch.search(weights, bits: 4, granularity: .perAxis, zeroUnit: 2).zeroUnit == 1)
  }
}
