import CetTensor
import Testing

@testable import CetQuantize

@Suite struct ShrinkageTests {
  /// Covariance of `rows` independent normal patches whose column j has standard deviation `deviation(j)`.
  private func covariance(rows: Int, columns: Int, seed: UInt64, _ deviation: (Int) -> Double) throws -> [Double] {
    var random = Random(seed: seed)
    let patches = (0..<(rows * columns)).map { Float(random.normal() * deviation($0 % columns)) }
    var moment = try SecondMoment(dimension: columns)
    try moment.add(patches, rows: rows)
    return try moment.covariance()
  }

  @Test func damping_closeToTheBestForKnownCovariances() throws {
    let (rows, columns) = (60, 40)
    for falling in [false, true] {
      let deviation = { (j: Int) in falling ? 1 / Double(j + 1) : 1 }
      let c = try covariance(rows: rows, columns: columns, seed: 1, deviation)
      var trace = 0.0
      for i in 0..<columns { trace += c[i * columns + i] / Double(columns) }
      /// Squared distance of (1 − ρ) C + ρ mean · I to the covariance that the patches were drawn from.
      func distance(_ share: Double) -> Double {
        (0..<(columns * columns)).reduce(0.0) { sum, at in
          let isDiagonal = at / columns == at % columns
          let truth = isDiagonal ? deviation(at / columns) * deviation(at / columns) : 0
          let error = (1 - share) * c[at] + (isDiagonal ? share * trace : 0) - truth
          return sum + error * error
        }
      }
      let damping = Shrinkage.damping(c, columns: columns, patches: rows)
      let best = (0...900).map { distance(Double($0) / 1000) }.min() ?? 0
      // It is made for normal patches of any covariance: the closest where all directions vary alike, less so where one in forty does.
      #expect(distance(damping / (1 + damping)) < (falling ? 1.35 : 1.02) * best + (falling ? 0 : 0.02) * distance(0))
      #expect(falling ? damping < 0.1 : damping > 2)
    }
  }

  @Test func manyPatches_damping_littleAndIdentityAtMost() throws {
    let c = try covariance(rows: 20_000, columns: 30, seed: 2) { 1 / Double($0 + 1) }
    #expect(Shrinkage.damping(c, columns: 30, patches: 20_000) < 1e-3)
    let identity = (0..<900).map { $0 / 30 == $0 % 30 ? 2.0 : 0 }
    #expect(abs(Shrinkage.damping(identity, columns: 30, patches: 100) - 9) < 1e-12)
    #expect(Shrinkage.damping([3], columns: 1, patches: 1) == 0)
    #expect(Shrinkage.damping([0, 0, 0, 0], columns: 2, patches: 0) == 0)
    #expect(Shrinkage.damping([1, .nan, .nan, 1], columns: 2, patches: 5) == 0)
  }
}
