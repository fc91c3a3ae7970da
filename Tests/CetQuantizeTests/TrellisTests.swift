import CetTensor
import Testing

@testable import CetQuantize

@Suite struct TrellisTests {
  @Test(arguments: [TrellisCode.small, .large])
  func table_anyState_isFollowedByOneValueOfEveryQuantile(_ code: TrellisCode) {
    let sorted = code.table.sorted()
    #expect(zip(sorted, sorted.reversed()).allSatisfy { $0 == -$1 })
    #expect(Set(code.table).count > code.table.count * 9 / 10)
    for bits in TrellisCode.widths {
      let children = 1 << bits
      let perStratum = code.table.count / children
      for state in 0..<(code.table.count / children) {
        let values = code.table[(state * children)..<((state + 1) * children)].sorted()
        for (stratum, value) in values.enumerated() {
          #expect(sorted[stratum * perStratum] <= value && value <= sorted[(stratum + 1) * perStratum - 1])
        }
      }
    }
  }

  /// Without inputs that go together the error is that of a source coder: with 12 state bits and 32 paths .287, .077, .0205
  /// and .0055, the bounds allow 2 % more. A uniform quantizer has .119, .0374 and .0115 at 2, 3 and 4 bits.
  @Test(arguments: zip([1, 2, 3, 4], [0.293, 0.0785, 0.0209, 0.0056]))
  func trellis_normalWeights_losesWhatASourceCoderDoes(_ bits: Int, _ bound: Double) throws {
    let weights = try Problems.normal(rows: 32, columns: 1024, seed: 3)
    let factor = try CurvatureFactor(covariance: Problems.identity(1024), dimension: 1024, relativeDamping: 0, columns: .natural)
    let rounded = try MatrixRounding.trellis(weights, bits: bits, code: .large, granularity: .perAxis, factors: [factor])
    let values = rounded.matrix.dequantize()
    let error = zip(values, weights.values).reduce(0.0) { $0 + Double($1.0 - $1.1) * Double($1.0 - $1.1) } / Double(values.count)
    #expect(error < bound)
    #expect(abs(rounded.rowErrors.reduce(0, +) / Double(values.count) - error) < 1e-3 * error)
  }

  /// With room for every path the search is exhaustive: no sequence of codes has a smaller error at the same scale.
  @Test func trellis_enoughPaths_findsTheBestCodes() throws {
    for seed in 0..<20 {
      let (rows, columns, bits) = (2, 3, 2)
      let weights = try Problems.normal(rows: rows, columns: columns, seed: UInt64(seed))
      let h = try Problems.covariance(columns: columns, samples: 50, seed: UInt64(100 + seed))
      let factor = try CurvatureFactor(covariance: h, dimension: columns, relativeDamping: 1e-9, columns: .natural)
      let rounded = try MatrixRounding.trellis(
        weights, bits: bits, code: .small, granularity: .perAxis, factors: [factor],
        options: TrellisOptions(paths: 128, fewPaths: 128, starts: [1], rounds: 40))
      for row in 0..<rows {
        let scale = rounded.matrix.scales[row]
        func error(_ codes: [UInt8]) -> Double {
          let levels = TrellisCode.small.levels(codes, rows: 1, columns: columns, bits: bits)
          let d = (0..<columns).map { Double(levels[$0] * scale) - Double(weights.values[row * columns + $0]) }
          var sum = 0.0
          for i in 0..<columns { for j in 0..<columns { sum += d[i] * h[i * columns + j] * d[j] } }
          return sum
        }
        let found = error(Array(rounded.matrix.codes[(row * columns)..<((row + 1) * columns)]))
        let every = (0..<64).map { error([UInt8($0 >> 4), UInt8($0 >> 2 & 3), UInt8($0 & 3)]) }
        // After so many rounds codes and scale fit each other: the scale is the one that these codes were found at.
        #expect(found <= (every.min() ?? 0) * 1.0001 + 1e-9)
      }
    }
  }

  @Test(arguments: [5, 64, 65, 200])
  func trellis_anyThreads_givesTheSameBits(_ columns: Int) throws {
    let weights = try Problems.normal(rows: 37, columns: columns, seed: 9)
    let factor = try CurvatureFactor(
      covariance: try Problems.covariance(columns: columns, samples: 400, seed: 4), dimension: columns, relativeDamping: 0.03, columns: .natural)
    let results = try [1, 2, 4].map {
      try MatrixRounding.trellis(
        weights, bits: 3, code: .small, granularity: .perAxis, factors: [factor], workers: Workers(threads: $0)).matrix
    }
    #expect(results.allSatisfy { $0.codes == results[0].codes && $0.scales == results[0].scales })
  }

  /// Correlated inputs: the trellis beats the grid of the same width, and its decoder gives what the search had.
  @Test(arguments: [2, 3, 4])
  func trellis_correlatedInputs_losesLessThanAGrid(_ bits: Int) throws {
    let (rows, columns) = (24, 144)
    let weights = try Problems.normal(rows: rows, columns: columns, seed: 17)
    let covariance = try Problems.covariance(columns: columns, samples: 1000, seed: 8)
    let natural = try CurvatureFactor(covariance: covariance, dimension: columns, relativeDamping: 0.03, columns: .natural)
    let falling = try CurvatureFactor(covariance: covariance, dimension: columns, relativeDamping: 0.03)
    let grid = try MatrixRounding.gptq(weights, bits: bits, granularity: .perAxis, factor: falling)
    let trellis = try MatrixRounding.trellis(weights, bits: bits, code: .small, granularity: .perAxis, factors: [natural])
    #expect(trellis.rowErrors.reduce(0, +) < 0.8 * grid.rowErrors.reduce(0, +))
  }

  @Test(arguments: TrellisCode.widths)
  func trellis_unusualRows_comeThrough(_ bits: Int) throws {
    func rounded(_ values: [Float], rows: Int, granularity: Granularity = .perAxis) throws -> [Float] {
      let columns = values.count / rows
      let factor = try CurvatureFactor(covariance: Problems.identity(columns), dimension: columns, columns: .natural)
      return try MatrixRounding.trellis(
        WeightMatrix(values, rows: rows, columns: columns), bits: bits, code: .small, granularity: granularity, factors: [factor]
      ).matrix.dequantize()
    }
    let zeros = try rounded([0, 0, 0, 0, 1, -1, 0.5, 2], rows: 2)
    #expect(zeros[..<4].allSatisfy { $0 == 0 })
    let single = try rounded([0.7, -3, 1e-20, 4e20], rows: 4)
    for (x, y) in zip(single, [0.7, -3, 1e-20, 4e20] as [Float]) { #expect(abs(x / y - 1) < 1e-5) }
    let outlier = try rounded([Float](repeating: 0.01, count: 99) + [100], rows: 1)
    #expect(outlier.allSatisfy { $0.isFinite })
    let blocks = try rounded((0..<96).map { Float($0 % 7) - 3 } + [Float](repeating: 0, count: 32), rows: 1, granularity: .block(32))
    #expect(blocks.suffix(32).allSatisfy { abs($0) < 1e-6 })
  }
}
