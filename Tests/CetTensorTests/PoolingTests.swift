import Testing

@testable import CetTensor

@Suite struct PoolingTests {
  static let geometries: [PoolingGeometry] = {
    var list = [
      try? PoolingGeometry(input: [2, 3, 7, 7], kernel: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1]),
      try? PoolingGeometry(input: [2, 70, 6, 5], kernel: [2, 3], strides: [2, 2], ceil: true),
      try? PoolingGeometry(global: [2, 5, 4, 6]),
      try? PoolingGeometry(input: [1, 2, 1, 1], kernel: [2, 2], dilations: [3, 3], pads: [1, 1, 2, 2]),
    ].compactMap { $0 }
    var generator = Random(seed: 9)
    func pick(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &generator) }
    while list.count < 80 {
      let spatial = pick(1...3)
      let kernel = (0..<spatial).map { _ in pick(1...4) }
      let geometry = try? PoolingGeometry(
        input: [pick(1...2), pick(0...3) == 0 ? 65 : pick(1...4)] + (0..<spatial).map { _ in pick(1...8) },
        kernel: kernel, strides: (0..<spatial).map { _ in pick(1...3) }, dilations: (0..<spatial).map { _ in pick(1...2) },
        pads: (0..<(2 * spatial)).map { pick(0...(kernel[$0 % spatial] - 1)) }, ceil: pick(0...1) == 1)
      if let geometry { list.append(geometry) }
    }
    return list
  }()

  /// For every output: its flat index, the flat inputs under its taps, and the taps inside the padded input.
  static func forEachWindow(_ g: PoolingGeometry, _ body: (Int, [Int], Int) -> Void) {
    forEachIndex(g.outputShape) { output in
      var taps: [Int] = []
      var padded = 0
      forEachIndex(g.kernel) { tap in
        var input = [output[0], output[1]]
        var (isInside, isPadded) = (true, true)
        for axis in g.kernel.indices {
          let at = output[2 + axis] * g.strides[axis] - g.padsBegin[axis] + tap[axis] * g.dilations[axis]
          isInside = isInside && at >= 0 && at < g.inputSpatial[axis]
          isPadded = isPadded && at < g.inputSpatial[axis] + g.padsEnd[axis]
          input.append(at)
        }
        if isInside { taps.append(flat(input, g.inputShape)) }
        if isPadded { padded += 1 }
      }
      body(flat(output, g.outputShape), taps, padded)
    }
  }

  @Test(arguments: geometries) func average_anyGeometry_matchesDefinitionAndTranspose(g: PoolingGeometry) throws {
    let context = ComputeContext()
    var generator = Random(seed: 4)
    let x = try Tensor.random(g.inputShape, &generator)
    let gradient = try Tensor.random(g.outputShape, &generator)
    let values = try x.doubles()
    for includePad in [false, true] {
      var expected = [Double](repeating: 0, count: g.outputShape.elementCount)
      Self.forEachWindow(g) { output, taps, padded in
        let divisor = includePad ? padded : taps.count
        expected[output] = divisor == 0 ? 0 : taps.reduce(0) { $0 + values[$1] } / Double(divisor)
      }
      let y = try Pooling.average(g, countIncludePad: includePad, input: x, context)
      #expect(y.layout == .channelsLast && y.shape == g.outputShape)
      #expect(try relativeError(y, expected) < 1e-6)
      let back = try Pooling.averageTranspose(g, countIncludePad: includePad, outputGradient: gradient, context)
      #expect(back.shape == g.inputShape)
      let limit = try 1e-5 * (1 + inner(gradient, gradient))
      #expect(try abs(inner(y, gradient) - inner(x, back)) < limit)
    }
  }

  @Test(arguments: geometries) func maximum_anyGeometry_matchesDefinitionAndDerivatives(g: PoolingGeometry) throws {
    let context = ComputeContext()
    var generator = Random(seed: 5)
    // Few distinct values, so that ties are common.
    let x = try Tensor((0..<g.inputShape.elementCount).map { _ in Float(generator.next() % 5) }, shape: g.inputShape)
    let values = try x.doubles()
    let tangent = try Tensor.random(g.inputShape, &generator)
    let tangents = try tangent.doubles()
    let gradient = try Tensor.random(g.outputShape, &generator)
    let gradients = try gradient.doubles()
    var expected = [Double](repeating: 0, count: g.outputShape.elementCount)
    var taken = expected
    var scattered = [Double](repeating: 0, count: values.count)
    Self.forEachWindow(g) { output, taps, _ in
      guard var best = taps.first else {
        expected[output] = -Double(Float.greatestFiniteMagnitude)
        return
      }
      for tap in taps where values[tap] > values[best] { best = tap }
      expected[output] = values[best]
      taken[output] = tangents[best]
      scattered[best] += gradients[output]
    }
    let (y, indices) = try Pooling.maximum(g, input: x, context)
    #expect(try y.doubles() == expected)
    let moved = try Pooling.take(tangent, indices: indices, context)
    #expect(try moved.doubles() == taken)
    let back = try Pooling.scatterAdd(gradient, indices: indices, into: g.inputShape, context)
    #expect(try relativeError(back, scattered) < 1e-6)
    let limit = try 1e-5 * (1 + inner(gradient, gradient))
    #expect(try abs(inner(moved, gradient) - inner(tangent, back)) < limit)
  }

  @Test func maximum_withNaN_isNaNAndFirstNaNWins() throws {
    let context = ComputeContext()
    let x = try Tensor([1, .nan, 3, .nan, -.infinity, -.infinity] as [Float], shape: [1, 1, 6])
    let g = try PoolingGeometry(input: x.shape, kernel: [2], strides: [1])
    let (y, indices) = try Pooling.maximum(g, input: x, context)
    let values: [Float] = try y.array()
    #expect(values[..<4].allSatisfy { $0.isNaN } && values[4] == -.infinity)
    #expect(try indices.array(as: Int32.self) == [1, 1, 3, 3, 4])
  }

  @Test func indices_outsideTheSample_readZeroAndAreNotWritten() throws {
    let context = ComputeContext()
    let x = try Tensor([1, 2, 3] as [Float], shape: [1, 1, 3])
    let indices = try Tensor([-1, 3, 2, Int32.max] as [Int32], shape: [1, 1, 4])
    #expect(try Pooling.take(x, indices: indices, context).doubles() == [0, 0, 3, 0])
    let gradient = try Tensor([1, 1, 1, 1] as [Float], shape: [1, 1, 4])
    #expect(try Pooling.scatterAdd(gradient, indices: indices, into: [1, 1, 3], context).doubles() == [0, 0, 1])
  }

  @Test func geometry_ceilMode_dropsWindowThatStartsInPadding() throws {
    #expect(try PoolingGeometry(input: [1, 1, 5], kernel: [2], strides: [2], ceil: true).outputSpatial == [3])
    #expect(try PoolingGeometry(input: [1, 1, 4], kernel: [1], strides: [2], pads: [0, 1], ceil: true).outputSpatial == [2])
    #expect(try PoolingGeometry(input: [1, 1, 6], kernel: [3], strides: [2], pads: [1, 0], ceil: true).outputSpatial == [3])
  }

  @Test func geometry_impossible_throws() {
    #expect(throws: CetError.self) { try PoolingGeometry(input: [1, 1, 5], kernel: [6]) }
    #expect(throws: CetError.self) { try PoolingGeometry(input: [1, 1, 5], kernel: [2, 2]) }
    #expect(throws: CetError.self) { try PoolingGeometry(input: [1, 1, 5], kernel: [2], strides: [0]) }
    #expect(throws: CetError.self) { try PoolingGeometry(input: [1, 1], kernel: []) }
    #expect(throws: CetError.self) { try PoolingGeometry(input: [1, 1, 5], kernel: [2], pads: [Int.max, Int.max]) }
  }

  @Test func operators_wrongOperands_throw() throws {
    let context = ComputeContext()
    let g = try PoolingGeometry(input: [1, 1, 5], kernel: [2])
    let wrong = try Tensor.zeros(.float32, [1, 1, 6])
    #expect(throws: CetError.self) { try Pooling.average(g, input: wrong, context) }
    #expect(throws: CetError.self) { try Pooling.maximum(g, input: wrong, context) }
    #expect(throws: CetError.self) { try Pooling.take(wrong, indices: wrong, context) }
    let rank4 = try PoolingGeometry(input: [1, 1, 2, 2, 2, 2], kernel: [1, 1, 1, 1])
    #expect(throws: CetError.self) { try Pooling.average(rank4, input: .zeros(.float32, rank4.inputShape), context) }
  }

  @Test func average_emptyBatch_isEmpty() throws {
    let g = try PoolingGeometry(input: [0, 2, 4, 4], kernel: [2, 2])
    #expect(try Pooling.average(g, input: .zeros(.float32, g.inputShape), ComputeContext()).shape == [0, 2, 3, 3])
  }
}
