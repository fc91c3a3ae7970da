import CetTensor
import Testing

@testable import CetSpectral

@Suite struct EigensolveTests {
  /// Values against the true spectrum, residuals against the true map, orthonormal vectors, honest counts.
  static func check(_ map: DenseMap, _ pairs: Eigenpairs, spectrum: [Double], part: SpectrumPart, tolerance: Double) {
    let n = map.dimension
    let largest = spectrum.map(abs).max() ?? 0
    let expected = spectrum.sorted { part.precedes($0, $1) }.prefix(pairs.count)
    for (value, truth) in zip(pairs.values, expected) {
      let close = part == .largestMagnitude ? abs(abs(value) - abs(truth)) : abs(value - truth)
      #expect(close <= tolerance * abs(truth) + 3e-6 * largest, "\(value) for \(truth)")
    }
    #expect(pairs.applies == map.applies)
    for i in 0..<pairs.count {
      #expect(abs(map.residual(pairs.values[i], pairs.vectors[i]) - pairs.residualNorms[i]) <= 3e-6 * largest + 1e-12)
      for j in 0...i {
        var dot = 0.0
        for (x, y) in zip(pairs.vectors[i], pairs.vectors[j]) { dot += Double(x) * Double(y) }
        #expect(abs(dot - (i == j ? 1 : 0)) < 1e-5)
      }
    }
    #expect(pairs.vectors.count == pairs.count && pairs.vectors.dimension == n)
  }

  @Test(arguments: [SpectrumPart.largestMagnitude, .largest, .smallest])
  func randomSymmetric_eigensolve_matchesLapack(part: SpectrumPart) throws {
    for n in [5, 40, 150] {
      let map = DenseMap.random(n, seed: UInt64(n))
      let spectrum = try LinearAlgebra.symmetricEigen(map.matrix, n: n).values
      let pairs = try eigensolve(map, EigensolveSettings(count: 6, part: part, tolerance: 1e-5, maximumApplies: 3000))
      #expect(pairs.count == min(6, n))
      #expect(pairs.convergedCount == pairs.count)
      EigensolveTests.check(map, pairs, spectrum: spectrum, part: part, tolerance: 1e-6)
    }
  }

  @Test func repeatedEigenvalues_eigensolve_findsEveryCopy() throws {
    let spectrum = [7.0, 7, 7, 5, 5, 2] + (0..<60).map { Double($0) / 60 }
    let map = DenseMap(spectrum: spectrum, seed: 1)
    let pairs = try eigensolve(map, EigensolveSettings(count: 6, tolerance: 1e-4))
    #expect(pairs.convergedCount == 6)
    EigensolveTests.check(map, pairs, spectrum: spectrum, part: .largestMagnitude, tolerance: 1e-4)
  }

  @Test func indefiniteSpectrum_eachPart_itsOwnEnd() throws {
    let spectrum = [-9.0, -3, 4, 8, 10] + (0..<80).map { 0.5 - Double($0) / 80 }
    for (part, first) in [(SpectrumPart.largestMagnitude, 10.0), (.largest, 10), (.smallest, -9)] {
      let map = DenseMap(spectrum: spectrum, seed: 2)
      let pairs = try eigensolve(map, EigensolveSettings(count: 4, part: part, tolerance: 1e-4))
      #expect(abs(pairs.values[0] - first) < 1e-3)
      EigensolveTests.check(map, pairs, spectrum: spectrum, part: part, tolerance: 1e-4)
    }
  }

  @Test func rankOne_eigensolve_onePairAndZeros() throws {
    let map = DenseMap(spectrum: [3.0] + [Double](repeating: 0, count: 49), seed: 3)
    let pairs = try eigensolve(map, EigensolveSettings(count: 3))
    #expect(abs(pairs.values[0] - 3) < 1e-4)
    #expect(abs(pairs.values[1]) < 1e-4 && abs(pairs.values[2]) < 1e-4)
    EigensolveTests.check(map, pairs, spectrum: [3.0] + [Double](repeating: 0, count: 49), part: .largestMagnitude, tolerance: 1e-4)
  }

  @Test func zeroMap_eigensolve_convergedZeros() throws {
    let map = DenseMap(diagonal: [Double](repeating: 0, count: 30))
    let pairs = try eigensolve(map, EigensolveSettings(count: 4))
    #expect(pairs.values == [0, 0, 0, 0])
    #expect(pairs.residualNorms == [0, 0, 0, 0])
    #expect(pairs.convergedCount == 4)
  }

  @Test func identity_eigensolve_ones() throws {
    let map = DenseMap(diagonal: [Double](repeating: 1, count: 30))
    let pairs = try eigensolve(map, EigensolveSettings(count: 4))
    for value in pairs.values { #expect(abs(value - 1) < 1e-5) }
    #expect(pairs.convergedCount == 4)
  }

  @Test func invariantSubspaceOfTwo_eigensolve_continues() throws {
    // The second Krylov vector already closes the space: two distinct values.
    let spectrum = [Double](repeating: 2, count: 10) + [Double](repeating: -1, count: 30)
    let map = DenseMap(spectrum: spectrum, seed: 4)
    let pairs = try eigensolve(map, EigensolveSettings(count: 12, part: .largest, tolerance: 1e-4))
    EigensolveTests.check(map, pairs, spectrum: spectrum, part: .largest, tolerance: 1e-3)
  }

  @Test func dimensionOne_eigensolve_thatValue() throws {
    let map = DenseMap(diagonal: [-4])
    let pairs = try eigensolve(map, EigensolveSettings(count: 3))
    #expect(pairs.count == 1 && abs(pairs.values[0] + 4) < 1e-6)
    #expect(pairs.converged == [true])
  }

  @Test func countBeyondDimension_eigensolve_wholeSpectrum() throws {
    let map = DenseMap.random(12, seed: 5)
    let pairs = try eigensolve(map, EigensolveSettings(count: 40, part: .smallest, tolerance: 1e-4))
    #expect(pairs.count == 12 && pairs.convergedCount == 12)
    EigensolveTests.check(
      map, pairs, spectrum: try LinearAlgebra.symmetricEigen(map.matrix, n: 12).values, part: .smallest, tolerance: 1e-4)
  }

  @Test func tooFewApplies_eigensolve_flagsAndHonestResiduals() throws {
    let map = DenseMap.random(200, seed: 6)
    let pairs = try eigensolve(map, EigensolveSettings(count: 10, tolerance: 1e-6, maximumApplies: 25))
    #expect(pairs.count == 10)
    #expect(pairs.applies <= 25)
    #expect(pairs.convergedCount < 10)
    for i in 0..<pairs.count {
      #expect(abs(map.residual(pairs.values[i], pairs.vectors[i]) - pairs.residualNorms[i]) < 1e-3)
    }
    let few = try eigensolve(map, EigensolveSettings(count: 10, maximumApplies: 5))
    #expect(few.count >= 1 && few.convergedCount < 10)
  }

  @Test func smallBasis_eigensolve_restartsAndConverges() throws {
    let spectrum = [100.0, 60, 30] + (0..<150).map { Double($0) / 30 }
    let map = DenseMap(spectrum: spectrum, seed: 7)
    let pairs = try eigensolve(map, EigensolveSettings(count: 3, basisDimension: 6, tolerance: 1e-4))
    #expect(pairs.restarts > 0 && pairs.convergedCount == 3)
    EigensolveTests.check(map, pairs, spectrum: spectrum, part: .largestMagnitude, tolerance: 1e-4)
  }

  @Test func nanFromMap_eigensolve_throwsNumericWithApply() throws {
    let map = DenseMap.random(30, seed: 8)
    map.failAt = 4
    do {
      _ = try eigensolve(map, EigensolveSettings(count: 2))
      Issue.record("no error")
    } catch {
      #expect(error.code == .numeric && error.message.contains("apply 4"))
    }
  }

  @Test func cancelFromProgress_eigensolve_stops() throws {
    let map = DenseMap.random(30, seed: 9)
    #expect(throws: CetError.self) {
      try eigensolve(map, EigensolveSettings(count: 2)) { applies, _ throws(CetError) in
        if applies == 3 { throw CetError(.cancelled, "stop") }
      }
    }
    #expect(map.applies == 3)
  }

  @Test func sameSeedAnyThreads_eigensolve_sameBits() throws {
    var random = Random(seed: 10)
    let map = DiagonalMap((0..<200_000).map { _ in Float(random.uniform() * random.uniform() * random.uniform()) })
    let results = try [1, 2, 3].map {
      try eigensolve(map, EigensolveSettings(count: 3, maximumApplies: 60, seed: 5), workers: Workers(threads: $0))
    }
    for other in results[1...] {
      let sameVectors = (0..<3).allSatisfy { other.vectors[$0] == results[0].vectors[$0] }  // not inside #expect, which would print them
      #expect(sameVectors)
      #expect(other.values == results[0].values)
      #expect(other.residualNorms == results[0].residualNorms)
    }
  }

  @Test func badOptions_eigensolve_throw() {
    let map = DenseMap.random(5, seed: 11)
    #expect(throws: CetError.self) { try eigensolve(map, EigensolveSettings(count: 0)) }
    #expect(throws: CetError.self) { try eigensolve(map, EigensolveSettings(count: 1, tolerance: .nan)) }
    #expect(throws: CetError.self) { try eigensolve(map, EigensolveSettings(count: 1, maximumApplies: 0)) }
    #expect(throws: CetError.self) { try eigensolve(DenseMap([], 0), EigensolveSettings(count: 1)) }
  }
}
