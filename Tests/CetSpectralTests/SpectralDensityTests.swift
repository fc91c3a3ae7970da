import CetTensor
import Testing

@testable import CetSpectral

@Suite struct SpectralDensityTests {
  @Test func symmetricMap_density_momentsOfTheSpectrum() throws {
    let n = 80
    let map = DenseMap.random(n, seed: 1)
    let values = try LinearAlgebra.symmetricEigen(map.matrix, n: n).values
    let density = try estimateDensity(map, ProbeOptions(samples: 20, steps: 15, seed: 2))
    #expect(density.applies == map.applies && density.applies == 20 * 15)
    for power in 0...4 {
      var moments = RunningMoments()
      for (nodes, weights) in zip(density.nodes, density.weights) {
        moments.add(zip(nodes, weights).reduce(0) { sum, pair in (0..<power).reduce(pair.1) { x, _ in x * pair.0 } + sum })
      }
      let expected = values.reduce(0) { sum, value in (0..<power).reduce(1.0) { x, _ in x * value } + sum } / Double(n)
      #expect(abs(moments.mean - expected) <= 4 * moments.standardError + 1e-6 * max(1, abs(expected)))
    }
  }

  @Test func rankOne_density_twoNodesAndTwoStepsAProbe() throws {
    let map = DenseMap(spectrum: [3.0] + [Double](repeating: 0, count: 49), seed: 3)
    let density = try estimateDensity(map, ProbeOptions(samples: 5, steps: 20))
    #expect(map.applies <= 10)
    for (nodes, weights) in zip(density.nodes, density.weights) {
      #expect(abs(weights.reduce(0, +) - 1) < 1e-12)
      for (node, weight) in zip(nodes, weights) where weight > 1e-6 { #expect(min(abs(node), abs(node - 3)) < 1e-4) }
    }
  }

  @Test func sameSeedAnyThreads_density_sameBits() throws {
    var random = Random(seed: 10)
    let map = DiagonalMap((0..<100_000).map { _ in Float(random.uniform()) })
    let results = try [1, 2, 3].map {
      try estimateDensity(map, ProbeOptions(samples: 2, steps: 10, seed: 5), workers: Workers(threads: $0))
    }
    for other in results[1...] { #expect(other.nodes == results[0].nodes && other.weights == results[0].weights) }
  }

  @Test func memoryLimit_density_outOfMemory() {
    var options = ProbeOptions(samples: 2, steps: 30)
    options.maximumMemory = 1000
    do {
      _ = try estimateDensity(DenseMap.random(60, seed: 1), options)
      Issue.record("no error")
    } catch { #expect(error.code == .outOfMemory) }
  }

  @Test func deflatedTrace_stiffMap_lessErrorThanPlain() throws {
    let flat: [Double] = (0..<100).map { Double($0) / 100 }
    let spectrum = [80, -50, 20] + flat
    let map = DenseMap(spectrum: spectrum, seed: 4)
    let truth = spectrum.reduce(0, +)
    let plain = try estimateTrace(map, samples: 40, seed: 1).whole
    map.applies = 0
    let deflated = try estimateTraceDeflated(map, ProbeOptions(samples: 40, seed: 1))
    #expect(map.applies == 40)
    #expect(abs(plain.trace - truth) < 4 * plain.standardError)
    #expect(abs(deflated.trace - truth) < 4 * deflated.standardError)
    #expect(deflated.standardError < plain.standardError / 4)
  }

  @Test func symmetricMap_diagonal_withinStandardErrors() throws {
    let n = 50
    let map = DenseMap.random(n, seed: 5)
    var diagonal = [Float](repeating: 0, count: n)
    var errors = diagonal
    try estimateDiagonal(map, samples: 300, diagonal: &diagonal, standardErrors: &errors)
    for i in 0..<n {
      #expect(abs(Double(diagonal[i]) - map.matrix[i * n + i]) < 5 * Double(errors[i]))
      // The variance of one sample is Σ_{j≠i} H_ij².
      var squares = 0.0
      for j in 0..<n where j != i { squares += map.matrix[i * n + j] * map.matrix[i * n + j] }
      #expect(abs(Double(errors[i]) / (squares / 300).squareRoot() - 1) < 0.25)
    }
    #expect(map.applies == 300)
  }
}
