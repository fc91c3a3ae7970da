import CetTensor
import Testing

@testable import CetSpectral

@Suite struct TraceEstimateTests {
  @Test func diagonalMap_oneSample_exact() throws {
    let map = DenseMap(diagonal: (0..<70).map { Double($0) - 10 })
    let estimate = try estimateTrace(map, samples: 2, ranges: [0..<10, 10..<70, 5..<5])
    #expect(abs(estimate.whole.trace - 1715) < 1e-3)
    #expect(estimate.whole.standardError < 1e-3)
    #expect(abs(estimate.ranges[0].trace + 55) < 1e-3)
    #expect(abs(estimate.ranges[1].trace - 1770) < 1e-3)
    #expect(estimate.ranges[2].trace == 0)
  }

  @Test func denseMap_manySamples_withinFourStandardErrors() throws {
    let n = 60
    let map = DenseMap.random(n, seed: 1)
    let estimate = try estimateTrace(map, samples: 400, ranges: [0..<20, 20..<60], seed: 3)
    let diagonal = (0..<n).map { map.matrix[$0 * n + $0] }
    #expect(abs(estimate.whole.trace - diagonal.reduce(0, +)) < 4 * estimate.whole.standardError)
    #expect(abs(estimate.ranges[0].trace - diagonal[..<20].reduce(0, +)) < 4 * estimate.ranges[0].standardError)
    // The variance of one sample is 2 Σ_{i≠j} H_ij².
    var squares = 0.0
    for i in 0..<n { for j in 0..<n where i != j { squares += map.matrix[i * n + j] * map.matrix[i * n + j] } }
    let expected = (2 * squares / 400).squareRoot()
    #expect(abs(estimate.whole.standardError / expected - 1) < 0.2)
    #expect(map.applies == 400)
  }

  @Test func nanOrBadRange_estimateTrace_throws() {
    let map = DenseMap.random(5, seed: 2)
    #expect(throws: CetError.self) { try estimateTrace(map, samples: 1, ranges: [0..<6]) }
    #expect(throws: CetError.self) { try estimateTrace(map, samples: 0) }
    map.failAt = 2
    do {
      _ = try estimateTrace(map, samples: 3)
      Issue.record("no error")
    } catch { #expect(error.message.contains("apply 2")) }
  }
}
