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

@Suite struct GridFormTests {
  private func kinds(_ coding: CodingPolicy, _ granularity: Granularity = .perAxis, bits: Int, columns: Int = 9) -> [Coding.Kind] {
    GridForm(granularity: granularity, coding: coding, trellis: .small) { _ in 1 }.codings(bits: bits, columns: columns).map(\.kind)
  }

  @Test func codings_followThePolicyWhereThereIsATrellis() {
    let (both, trellis, affine): ([Coding.Kind], [Coding.Kind], [Coding.Kind]) = ([.trellis, .affine], [.trellis], [.affine])
    #expect(kinds(.auto, bits: 3) == both)
    #expect(kinds(.trellis, bits: 3) == trellis)
    #expect(kinds(.affine, bits: 3) == affine)
    #expect(kinds(.auto, bits: 1) == trellis)
    #expect(kinds(.trellis, bits: 8) == affine)
    #expect(kinds(.auto, bits: 7) == affine)
    #expect(kinds(.trellis, .perTensor, bits: 3) == affine)
    #expect(kinds(.auto, .block(4), bits: 3) == both)
    #expect(kinds(.trellis, bits: 3, columns: 0) == affine)
    #expect(kinds(.trellis, bits: 3, columns: 1 << 17) == affine)
  }

  @Test func forms_ofATrellis_haveNoZeroPoints() throws {
    let form = GridForm(granularity: .perAxis, coding: .trellis, trellis: .large) { _ in 2 }
    let made = try form.form(name: "w", shape: [4, 3], axis: 0, form.expected(bits: 2, columns: 3))
    #expect(made.coding == .trellis(.large))
    #expect(made.zeroUnit == 1)
    #expect(made.zeroPointCount == 0)
    #expect(made.scaleCount == 4)
    #expect(throws: CetError.self) {
      _ = try QuantizedForm(name: "w", shape: [4, 3], bits: 7, axis: 0, coding: .trellis(.small))
    }
    #expect(throws: CetError.self) {
      _ = try QuantizedForm(name: "w", shape: [4, 3], bits: 2, axis: nil, coding: .trellis(.small))
    }
  }
}
