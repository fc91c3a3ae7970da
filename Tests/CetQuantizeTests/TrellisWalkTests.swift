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
      let factor = try CurvatureFactor(identity: view.matrix.columns, walk: TrellisWalk(shape, axis: axis))
      for granularity in [Granularity.perAxis, .block(3)] {
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
