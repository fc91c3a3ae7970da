import CetTensor
import Testing

@testable import CetQuantize

@Suite struct SecondMomentTests {
  /// Of the largest entry: single precision sums of 512 products, in the order of whichever BLAS kernel runs.
  static let tolerance = 2e-6

  /// Two-pass covariance in double.
  static func reference(_ a: [Float], _ b: [Float], rows: Int, centred: Bool) -> [Double] {
    let (m, n) = (a.count / rows, b.count / rows)
    var (meanA, meanB) = ([Double](repeating: 0, count: m), [Double](repeating: 0, count: n))
    if centred {
      for i in 0..<rows {
        for j in 0..<m { meanA[j] += Double(a[i * m + j]) / Double(rows) }
        for j in 0..<n { meanB[j] += Double(b[i * n + j]) / Double(rows) }
      }
    }
    var result = [Double](repeating: 0, count: m * n)
    for i in 0..<rows {
      for j in 0..<m {
        for k in 0..<n {
          result[j * n + k] += (Double(a[i * m + j]) - meanA[j]) * (Double(b[i * n + k]) - meanB[k]) / Double(rows)
        }
      }
    }
    return result
  }

  @Test(arguments: [(1, 100), (9, 1300), (40, 700)]) func randomPatches_covariance_twoPassReference(columns: Int, rows: Int) throws {
    let patches = Problems.patches(rows: rows, columns: columns, seed: 1, mean: 2)
    var moment = try SecondMoment(dimension: columns)
    try moment.add(patches, rows: rows)
    #expect(moment.count == rows)
    for centred in [true, false] {
      let expected = SecondMomentTests.reference(patches, patches, rows: rows, centred: centred)
      let found = try moment.covariance(centred: centred)
      let size = expected.map(abs).max() ?? 1
      for (x, y) in zip(found, expected) { #expect(abs(x - y) <= SecondMomentTests.tolerance * size) }
      let diagonal = try moment.diagonal(centred: centred)
      for i in 0..<columns { #expect(abs(diagonal[i] - found[i * columns + i]) <= 1e-12 * size) }
    }
  }

  @Test func hugeMean_covariance_keepsDigits() throws {
    let patches = Problems.patches(rows: 1500, columns: 6, seed: 2, mean: 5000)
    var moment = try SecondMoment(dimension: 6)
    try moment.add(patches, rows: 1500)
    let expected = SecondMomentTests.reference(patches, patches, rows: 1500, centred: true)
    let found = try moment.covariance()
    for (x, y) in zip(found, expected) { #expect(abs(x - y) <= 1e-6 * (expected.map(abs).max() ?? 1)) }
  }

  @Test func samePatches_otherCallSizes_sameBits() throws {
    let patches = Problems.patches(rows: 1100, columns: 17, seed: 3)
    var whole = try SecondMoment(dimension: 17)
    try whole.add(patches, rows: 1100)
    var pieces = try SecondMoment(dimension: 17)
    var start = 0
    for rows in [1, 510, 3, 86, 500] {
      try pieces.add(Array(patches[(start * 17)..<((start + rows) * 17)]), rows: rows)
      start += rows
    }
    #expect(try whole.covariance() == pieces.covariance())
    #expect(try whole.mean() == pieces.mean())
  }

  @Test func twoAccumulators_merge_equalsOne() throws {
    let patches = Problems.patches(rows: 900, columns: 12, seed: 4, mean: 1)
    var whole = try SecondMoment(dimension: 12)
    try whole.add(patches, rows: 900)
    var first = try SecondMoment(dimension: 12)
    var second = try SecondMoment(dimension: 12)
    try first.add(Array(patches[..<(300 * 12)]), rows: 300)
    try second.add(Array(patches[(300 * 12)...]), rows: 600)
    var empty = try SecondMoment(dimension: 12)
    try empty.merge(first)
    try empty.merge(second)
    #expect(empty.count == 900)
    let size = try whole.covariance().map(abs).max() ?? 1
    for (x, y) in zip(try whole.covariance(), try empty.covariance()) { #expect(abs(x - y) <= SecondMomentTests.tolerance * size) }
    for (x, y) in zip(try whole.mean(), try empty.mean()) { #expect(abs(x - y) <= 1e-12) }
  }

  @Test func stridedPatches_add_sameAsDense() throws {
    let patches = Problems.patches(rows: 600, columns: 20, seed: 5)
    var dense = try SecondMoment(dimension: 5)
    var strided = try SecondMoment(dimension: 5)
    try dense.add((0..<600).flatMap { Array(patches[($0 * 20 + 3)..<($0 * 20 + 8)]) }, rows: 600)
    try patches.withUnsafeBufferPointer { try strided.add(try #require($0.baseAddress) + 3, rows: 600, stride: 20) }
    #expect(try dense.covariance() == strided.covariance())
  }

  @Test func pairs_crossCovariance_twoPassReference() throws {
    let a = Problems.patches(rows: 1300, columns: 7, seed: 6, mean: 3)
    let b = Problems.patches(rows: 1300, columns: 11, seed: 7, mean: -1)
    var moment = try CrossMoment(left: 7, right: 11)
    try moment.add(a, b, rows: 1300)
    for centred in [true, false] {
      let expected = SecondMomentTests.reference(a, b, rows: 1300, centred: centred)
      let size = expected.map(abs).max() ?? 1
      for (x, y) in zip(try moment.covariance(centred: centred), expected) { #expect(abs(x - y) <= SecondMomentTests.tolerance * max(size, 1)) }
    }
    var same = try CrossMoment(left: 7, right: 7)
    var second = try SecondMoment(dimension: 7)
    try same.add(a, a, rows: 1300)
    try second.add(a, rows: 1300)
    let size = try second.covariance().map(abs).max() ?? 1
    for (x, y) in zip(try same.covariance(), try second.covariance()) { #expect(abs(x - y) <= SecondMomentTests.tolerance * size) }
  }

  @Test func wideMatrix_tiles_matchReference() throws {
    let columns = MomentState.tile + 37
    var random = Random(seed: 8)
    let patches = (0..<(40 * columns)).map { _ in Float(random.normal()) }
    var moment = try SecondMoment(dimension: columns)
    try moment.add(patches, rows: 40)
    let found = try moment.covariance()
    let expected = SecondMomentTests.reference(patches, patches, rows: 40, centred: true)
    var worst = 0.0
    for (x, y) in zip(found, expected) { worst = max(worst, abs(x - y)) }
    #expect(worst < 1e-5)
  }

  /// More columns than a tile of products has, and means that move from chunk to chunk by more than the patches vary.
  @Test(arguments: [1, 3]) func driftingMeans_covarianceInAnOrder_twoPassReference(threads: Int) throws {
    let (rows, columns) = (1200, 600)
    var patches = Problems.patches(rows: rows, columns: columns, seed: 9)
    for i in patches.indices { patches[i] += Float(i / columns / 300) * 4 }
    let other = Problems.patches(rows: rows, columns: 5, seed: 10, mean: 1)
    var moment = try SecondMoment(dimension: columns, arena: Arena())
    try moment.add(patches, rows: rows)
    var pairs = try CrossMoment(left: 5, right: columns, needsLeftVariance: true, arena: Arena())
    try pairs.add(other, patches, rows: rows)
    let order = (0..<columns).map { $0 * 7 % columns }
    let workers = Workers(threads: threads)
    let (found, crossed) = (try moment.covariance(order: order, workers: workers), try pairs.covariance(columns: order, workers: workers))
    let expected = SecondMomentTests.reference(patches, patches, rows: rows, centred: true)
    let wanted = SecondMomentTests.reference(other, patches, rows: rows, centred: true)
    let size = expected.map(abs).max() ?? 1
    var worst = 0.0
    for i in 0..<columns {
      for j in 0..<columns { worst = max(worst, abs(found[order[i] * columns + order[j]] - expected[i * columns + j])) }
      for k in 0..<5 { worst = max(worst, abs(crossed[k * columns + order[i]] - wanted[k * columns + i])) }
    }
    #expect(worst <= SecondMomentTests.tolerance * size)
    let variances = SecondMomentTests.reference(other, other, rows: rows, centred: true)
    for (k, variance) in try pairs.leftVariance().enumerated() { #expect(abs(variance - variances[k * 6]) <= 1e-6 * variance) }
  }

  @Test func noPatches_moments_zero() throws {
    let moment = try SecondMoment(dimension: 3)
    #expect(try moment.covariance() == [Double](repeating: 0, count: 9))
    #expect(try moment.diagonal() == [0, 0, 0])
    var copy = moment
    try copy.add([1, 2, 3, 3, 2, 1], rows: 2)
    var both = copy
    try both.merge(copy)
    #expect(try copy.covariance() == [1, 0, -1, 0, 0, 0, -1, 0, 1])
    #expect(try both.covariance() == copy.covariance())
    #expect(both.count == 4 && copy.count == 2 && moment.count == 0)
  }

  @Test func badPatches_add_throwNumeric() throws {
    for bad in [Float.nan, .infinity] {
      var patches = Problems.patches(rows: 20, columns: 3, seed: 8)
      patches[31] = bad
      var moment = try SecondMoment(dimension: 3)
      try moment.add(patches, rows: 20)
      do {
        _ = try moment.covariance()
        Issue.record("no error")
      } catch { #expect(error.code == .numeric) }
    }
    #expect(throws: CetError.self) { try SecondMoment(dimension: 0) }
    var moment = try SecondMoment(dimension: 3)
    #expect(throws: CetError.self) { try moment.add([1, 2], rows: 1) }
  }
}
