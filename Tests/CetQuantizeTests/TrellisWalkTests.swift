import CetTensor
import Testing

@testable import CetQuantize

@Suite struct TrellisWalkTests {
  /// Against the definition: the first of the other axes runs fastest, the others in C order.
  @Test(arguments: [[4, 3, 2, 5], [4, 3], [4, 3, 5], [1, 7, 2], [6, 1, 3, 3]])
  func steps_runFastestAlongTheFirstOtherAxis(_ shape: [Int]) {
    for axis in shape.indices {
      let others = shape.indices.filter { $0 != axis }.map { shape[$0] }
      let columns = others.elementCount
      let rest = Array(others.dropFirst()).elementCount
      var expected: [Int] = []
      for position in 0..<rest {
        for channel in 0..<others[0] { expected.append(channel * rest + position) }
      }
      let walk = TrellisWalk(shape, axis: axis)
      #expect(walk.columns(columns) == expected)
      let values = Array(0..<2 * columns)
      #expect(walk.inColumns(walk.steps(values, columns: columns), columns: columns) == values)
      #expect(Array(walk.steps(values, columns: columns).prefix(columns)) == expected)
    }
  }

  @Test func vectors_areWalkedStraight() {
    #expect(TrellisWalk([5], axis: 0) == .straight)
    #expect(TrellisWalk.straight.columns(4) == [0, 1, 2, 3])
  }

  /// Codes of a convolution are decoded along its walk, whatever holds them.
  @Test func matrixAndTensor_haveTheSameValues() throws {
    let shape = [3, 4, 2, 2]
    var random = Random(seed: 4)
    let weights = (0..<shape.elementCount).map { _ in Float(random.normal()) }
    for axis in [0, 1] {
      let view = try WeightView(name: "w", shape: shape, axis: axis, weights)
      for granularity in [Granularity.perAxis, .block(3)] {
        let walk = TrellisWalk(shape, axis: axis, blockSize: granularity.blockSize)
        let factor = try CurvatureFactor(identity: view.matrix.columns, walk: walk)
        let rounded = try MatrixRounding.trellis(view.matrix, bits: 3, code: .small, granularity: granularity, factors: [factor])
        let tensor = try view.assembled(rounded.matrix)
        let error = Self.squared(rounded.matrix.dequantize(), view.matrix.values)
        let inPlace = Self.squared(tensor.dequantized(), weights)
        #expect(abs(error - inPlace) < 1e-12)
        let told = rounded.rowErrors.reduce(0, +)
        #expect(abs(told - error) < 1e-4 * error)
      }
    }
  }

  @Test(arguments: [([3, 48], 16), ([3, 24], 8), ([2, 4, 3, 3], 4), ([2, 5], 1), ([2, 2], 2), ([3, 1536], 64), ([1, 1056], 32), ([1, 544], 16)])
  func rotation_isThePowerOfTwoThatDividesARow_upTo16Or64(_ shape: [Int], _ expected: Int) {
    #expect(TrellisWalk(shape, axis: 0).rotation == expected)
    #expect(TrellisWalk(shape, axis: 0, blockSize: 1).rotation == 1)
    // A block that is no shorter than a row is the row.
    #expect(TrellisWalk(shape, axis: 0, blockSize: shape[1...].reduce(1, *)).rotation == expected)
  }

  /// Against H_ij = (−1)^(bits that i and j share) / √n.
  @Test(arguments: [[3, 48], [2, 8, 3, 2], [3, 20]])
  func rotation_ofRowsAndOfMatrices_isHadamards(_ shape: [Int]) throws {
    let walk = TrellisWalk(shape, axis: 0)
    let columns = Array(shape.dropFirst()).elementCount
    let (n, order) = (walk.rotation, walk.columns(columns))
    func entry(_ i: Int, _ j: Int) -> Double {
      guard i / n == j / n else { return 0 }
      return ((i % n & j % n).nonzeroBitCount % 2 == 0 ? 1 : -1) / Double(n).squareRoot()
    }
    var random = Random(seed: 6)
    let row = (0..<columns).map { _ in Float(random.normal()) }
    var rotated = row
    rotated.withUnsafeMutableBufferPointer { if let start = $0.baseAddress { walk.rotate(start, count: columns) } }
    for i in 0..<columns {
      var sum = 0.0
      for j in 0..<columns { sum += entry(i, j) * Double(row[j]) }
      #expect(abs(Double(rotated[i]) - sum) < 1e-5)
    }
    let covariance = try Problems.covariance(columns: columns, samples: 100, seed: 3)
    let found = covariance.withUnsafeBufferPointer { $0.baseAddress.map { walk.rotated($0, dimension: columns) } ?? [] }
    for i in Swift.stride(from: 0, to: columns, by: 5) {
      for j in 0..<columns {
        var sum = 0.0
        for a in (i / n * n)..<(i / n * n + n) {
          for b in (j / n * n)..<(j / n * n + n) { sum += entry(i, a) * covariance[order[a] * columns + order[b]] * entry(b, j) }
        }
        #expect(abs(found[i * columns + j] - sum) < 1e-9)
      }
    }
  }

  /// Single large weights are what a table of normal values does worst.
  @Test(arguments: [2, 3, 4])
  func rotation_ofHeavyTails_losesLess(_ bits: Int) throws {
    let columns = 96
    var random = Random(seed: 11)
    let values = (0..<16 * columns).map { _ in Float(random.normal() * (random.uniform() < 0.05 ? 4 : 0.7)) }
    let weights = try WeightMatrix(values, rows: 16, columns: columns)
    let covariance = try Problems.covariance(columns: columns, samples: 1000, seed: 8)
    let errors = try [TrellisWalk.straight, TrellisWalk([16, columns], axis: 0)].map { walk in
      let factor = try CurvatureFactor(covariance: covariance, dimension: columns, relativeDamping: 0.03, columns: .walk(walk))
      return try MatrixRounding.trellis(weights, bits: bits, code: .small, granularity: .perAxis, factors: [factor])
        .rowErrors.reduce(0, +)
    }
    #expect(errors[1] < 0.9 * errors[0])
  }

  @Test func rotatedRows_withBlocks_areRefused() throws {
    let weights = try Problems.normal(rows: 2, columns: 16, seed: 1)
    let factor = try CurvatureFactor(identity: 16, walk: TrellisWalk([2, 16], axis: 0))
    #expect(throws: CetError.self) {
      try MatrixRounding.trellis(weights, bits: 2, code: .small, granularity: .block(4), factors: [factor])
    }
  }

  private static func squared(_ a: [Float], _ b: [Float]) -> Double {
    var sum = 0.0
    for (x, y) in zip(a, b) { sum += Double(x - y) * Double(x - y) }
    return sum
  }

  @Test func factorsOfOtherOrders_areRefused() throws {
    let weights = try Problems.normal(rows: 2, columns: 4, seed: 1)
    let falling = try CurvatureFactor(covariance: Problems.identity(4), dimension: 4)
    #expect(throws: CetError.self) {
      try MatrixRounding.trellis(weights, bits: 2, code: .small, granularity: .perAxis, factors: [falling])
    }
  }
}
