import CetTensor
import Testing

@testable import CetQuantize

/// Random moves after coordinate descent: errors are recomputed from codes and scales in double.
@Suite struct PerturbationTests {
  private func errors(_ made: RoundedMatrix, _ weights: WeightMatrix, _ h: [Double]) -> [Double] {
    let (values, n) = (made.matrix.dequantize(), weights.columns)
    return (0..<weights.rows).map { row in
      let d = (0..<n).map { Double(values[row * n + $0]) - Double(weights.values[row * n + $0]) }
      var sum = 0.0
      for i in 0..<n { for j in 0..<n { sum += d[i] * h[i * n + j] * d[j] } }
      return sum
    }
  }

  @Test(arguments: [2, 3, 4], [Granularity.perAxis, .block(40)])
  func kicks_lowerTheErrorAndKeepItTrue(bits: Int, granularity: Granularity) throws {
    let (rows, n) = (12, 100)
    let weights = try Problems.weights(rows: rows, columns: n, seed: 5)
    let c = try Problems.covariance(columns: n, samples: 500, seed: 6)
    let factor = try CurvatureFactor(covariance: c, dimension: n)
    let h = Problems.damped(c, n, 0.01)
    let grid = try ScaleSearch.search(weights, bits: bits, granularity: granularity)
    func rounded(_ kicks: Int, threads: Int = 1) throws -> RoundedMatrix {
      try MatrixRounding.gptq(
        weights, grid: grid, factors: [factor], options: RoundingOptions(kicks: kicks), workers: Workers(threads: threads))
    }
    let (plain, kicked) = (try rounded(0), try rounded(300))
    let (before, after) = (errors(plain, weights, h), errors(kicked, weights, h))
    for row in 0..<rows {
      #expect(after[row] <= before[row] * 1.0001, "row \(row)")
      #expect(abs(kicked.rowErrors[row] - after[row]) <= 1e-3 * after[row], "row \(row)")
    }
    #expect(after.reduce(0, +) < (bits < 4 ? 0.96 : 0.99) * before.reduce(0, +))
    let again = try rounded(300, threads: 2)
    #expect(again.matrix.codes == kicked.matrix.codes && again.matrix.scales == kicked.matrix.scales)
  }
}
