import CetTensor
import Testing

@testable import CetQuantize

@Suite struct KroneckerRoundingTests {
  @Test(arguments: [Granularity.perAxis, .perTensor, .blocked(size: 16)])
  func correlatedOutputs_sweeps_traceNeverRises(granularity: Granularity) throws {
    let (rows, n) = (70, 48)
    let weights = try Problems.weights(rows: rows, columns: n, seed: 1)
    let c = try Problems.covariance(columns: n, samples: 400, seed: 2)
    let g = try Problems.covariance(columns: rows, samples: 300, seed: 3)
    let factor = try CurvatureFactor(covariance: c, dimension: n)
    let (damped, dampedG) = (Problems.damped(c, n, 0.01), Problems.damped(g, rows, 0.05))
    for bits in [2, 3, 4] {
      let grid = try ScaleSearch.search(weights, bits: bits, granularity: granularity)
      let start = try Rounding.gptq(weights, grid: grid, factors: [factor]).matrix
      var previous = try Rounding.kroneckerError(start, target: weights, covariance: damped, outputCurvature: dampedG)
      let first = previous
      for sweeps in 1...3 {
        let matrix = try Rounding.kronecker(start, target: weights, factor: factor, outputCurvature: g, sweeps: sweeps)
        let error = try Rounding.kroneckerError(matrix, target: weights, covariance: damped, outputCurvature: dampedG)
        #expect(error <= previous * (1 + 1e-6))
        #expect(matrix.scales == start.scales && matrix.zeroPoints == start.zeroPoints)
        previous = error
      }
      #expect(previous < 0.97 * first)
    }
  }

  /// The rule as written, with A = G D H updated as a whole after every change, in double.
  @Test func oneSweep_plainReference_sameCodes() throws {
    let (rows, n) = (40, 12)
    let weights = try Problems.weights(rows: rows, columns: n, seed: 4)
    let c = try Problems.covariance(columns: n, samples: 100, seed: 5)
    let g = try Problems.covariance(columns: rows, samples: 200, seed: 6)
    let factor = try CurvatureFactor(covariance: c, dimension: n)
    let grid = try ScaleSearch.search(weights, bits: 3, granularity: .perAxis)
    let start = try Rounding.nearest(weights, grid: grid)
    let h = Problems.damped(c, n, 0.01)
    let gd = Problems.damped(g, rows, 0.05)
    var codes = start.codes.map(Double.init)
    func errors() -> [Double] {
      (0..<(rows * n)).map {
        (codes[$0] - Double(grid.zeroPoints[$0 / n])) * Double(grid.scales[$0 / n]) - Double(weights.values[$0])
      }
    }
    for o in 0..<rows {
      for j in factor.order {
        let dh = try LinearAlgebra.product(errors(), h, m: rows, k: n, n: n)
        var a = 0.0
        for p in 0..<rows { a += gd[o * rows + p] * dh[p * n + j] }
        let step = a / (gd[o * rows + o] * h[j * n + j] * Double(grid.scales[o]))
        codes[o * n + j] = min(max((codes[o * n + j] - step).rounded(.toNearestOrEven), 0), 7)
      }
    }
    let matrix = try Rounding.kronecker(start, target: weights, factor: factor, outputCurvature: g, sweeps: 1)
    let same = zip(matrix.codes, codes).filter { Double($0) == $1 }.count
    #expect(same >= rows * n - 2)
  }

  @Test func degenerateCurvature_kronecker_doesNotThrow() throws {
    let weights = try Problems.weights(rows: 5, columns: 8, seed: 7)
    let factor = try CurvatureFactor(covariance: [Double](repeating: 0, count: 64), dimension: 8)
    let start = try Rounding.nearest(weights, grid: ScaleSearch.search(weights, bits: 3, granularity: .perAxis))
    let zero = [Double](repeating: 0, count: 25)
    #expect(try Rounding.kronecker(start, target: weights, factor: factor, outputCurvature: zero).codes == start.codes)
    var bad = zero
    bad[3] = .nan
    #expect(throws: CetError.self) {
      try Rounding.kronecker(start, target: weights, factor: factor, outputCurvature: bad)
    }
    #expect(throws: CetError.self) {
      try Rounding.kronecker(start, target: weights, factor: factor, outputCurvature: [1])
    }
  }
}
