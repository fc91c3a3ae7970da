import Testing

@testable import CetTensor

/// Oracle: the definition, summed in double over every (output, tap) pair.
struct NaiveConvolution {
  let g: ConvolutionGeometry
  /// (x index, w index, y index) of every product of the definition.
  private let products: [(x: Int, w: Int, y: Int)]

  init(g: ConvolutionGeometry) {
    self.g = g
    let perGroup = g.outputChannels / g.groups
    let depth = g.inputChannels / g.groups
    var products: [(x: Int, w: Int, y: Int)] = []
    forEachIndex(g.outputSpatial) { output in
      forEachIndex(g.kernel) { tap in
        var (pixel, weight) = (0, 0)
        for axis in g.kernel.indices {
          let at = output[axis] * g.strides[axis] - g.padsBegin[axis] + tap[axis] * g.dilations[axis]
          guard at >= 0, at < g.inputSpatial[axis] else { return }
          pixel = pixel * g.inputSpatial[axis] + at
          weight = weight * g.kernel[axis] + tap[axis]
        }
        let position = flat(output, g.outputSpatial)
        for n in 0..<g.batch {
          for o in 0..<g.outputChannels {
            let y = (n * g.outputChannels + o) * g.outputSpatial.elementCount + position
            for i in 0..<depth {
              let channel = n * g.inputChannels + o / perGroup * depth + i
              products.append(
                (
                  channel * g.inputSpatial.elementCount + pixel, (o * depth + i) * g.kernel.elementCount + weight, y
                ))
            }
          }
        }
      }
    }
    self.products = products
  }

  func forward(_ x: Tensor, _ w: Tensor, _ bias: Tensor?, _ addend: Tensor?) throws -> [Double] {
    let (x, w) = try (x.doubles(), w.doubles())
    var y = try addend?.doubles() ?? [Double](repeating: 0, count: g.outputShape.elementCount)
    if let bias = try bias?.doubles() {
      let plane = g.outputSpatial.elementCount
      for index in y.indices { y[index] += bias[index / plane % g.outputChannels] }
    }
    for p in products { y[p.y] += x[p.x] * w[p.w] }
    return y
  }

  func inputGradient(_ dy: Tensor, _ w: Tensor, _ addend: Tensor?) throws -> [Double] {
    let (dy, w) = try (dy.doubles(), w.doubles())
    var x = try addend?.doubles() ?? [Double](repeating: 0, count: g.inputShape.elementCount)
    for p in products { x[p.x] += dy[p.y] * w[p.w] }
    return x
  }

  func weightGradient(_ x: Tensor, _ dy: Tensor, _ addend: Tensor?) throws -> [Double] {
    let (x, dy) = try (x.doubles(), dy.doubles())
    var w = try addend?.doubles() ?? [Double](repeating: 0, count: g.weightShape.elementCount)
    for p in products { w[p.w] += x[p.x] * dy[p.y] }
    return w
  }
}

@Suite struct ConvolutionTests {
  static let named: [ConvolutionGeometry] = {
    let list: [(input: [Int], weight: [Int], strides: [Int], dilations: [Int], pads: [Int], groups: Int)] = [
      ([2, 3, 8, 8], [4, 3, 3, 3], [], [], [1, 1, 1, 1], 1),
      ([2, 16, 9, 7], [32, 16, 3, 3], [2, 1], [], [1, 0, 2, 1], 1),
      ([2, 16, 9, 9], [16, 1, 3, 3], [], [], [1, 1, 1, 1], 16),
      ([1, 5, 9, 9], [10, 1, 3, 3], [2, 2], [], [1, 1, 1, 1], 5),
      ([2, 144, 7, 7], [144, 1, 5, 5], [1, 1], [], [2, 2, 2, 2], 144),
      ([1, 12, 10, 10], [6, 4, 3, 3], [], [2, 2], [2, 2, 2, 2], 3),
      ([2, 8, 5, 5], [16, 8, 1, 1], [], [], [], 1),
      ([2, 8, 5, 5], [16, 8, 1, 1], [2, 2], [], [1, 1, 1, 1], 1),
      ([2, 3, 3, 3], [4, 3, 7, 7], [], [], [3, 3, 3, 3], 1),
      ([1, 2, 2, 2], [3, 2, 5, 4], [], [], [2, 1, 3, 2], 1),
      ([1, 4, 11], [6, 4, 3], [2], [3], [2, 4], 1),
      ([2, 4, 33], [4, 1, 4], [3], [1], [0, 3], 4),
      ([1, 3, 5, 6, 4], [4, 3, 3, 2, 3], [1, 2, 1], [], [1, 0, 1, 1, 1, 0], 1),
      ([2, 4, 4, 4, 4], [4, 1, 2, 2, 2], [], [2, 1, 2], [1, 1, 0, 0, 1, 1], 4),
      ([1, 1, 4, 4], [1, 1, 2, 2], [], [], [], 1),
      ([1, 1, 1, 1], [1, 1, 1, 1], [3, 3], [2, 2], [], 1),
      ([1, 3, 12, 12], [8, 3, 3, 3], [4, 4], [], [5, 6, 7, 8], 1),
    ]
    return list.compactMap {
      try? ConvolutionGeometry(
        input: $0.input, weight: $0.weight, strides: $0.strides, dilations: $0.dilations, pads: $0.pads,
        groups: $0.groups)
    }
  }()

  static let random: [ConvolutionGeometry] = {
    var generator = Random(seed: 7)
    func pick(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &generator) }
    var list: [ConvolutionGeometry] = []
    while list.count < 120 {
      let spatial = pick(1...3)
      let groups = pick(0...2) == 0 ? pick(2...9) : 1
      let depth = pick(0...3) == 0 ? 16 : pick(1...5)
      let multiplier = pick(0...3) == 0 ? 16 : pick(1...4)
      let side = spatial == 3 ? 6 : 11
      let geometry = try? ConvolutionGeometry(
        input: [pick(1...3), groups * depth] + (0..<spatial).map { _ in pick(1...side) },
        weight: [groups * multiplier, depth] + (0..<spatial).map { _ in pick(1...4) },
        strides: (0..<spatial).map { _ in pick(1...3) }, dilations: (0..<spatial).map { _ in pick(1...3) },
        pads: (0..<(2 * spatial)).map { _ in pick(0...3) }, groups: groups)
      if let geometry { list.append(geometry) }
    }
    return list
  }()

  @Test func geometries_named_areAllValid() { #expect(Self.named.count == 17) }

  @Test(arguments: named + random) func triangle_anyGeometry_matchesDefinition(g: ConvolutionGeometry) throws {
    try serially {
      let context = ComputeContext()
      var generator = Random(seed: UInt64(bitPattern: Int64(g.inputShape.elementCount)))
      let x = try Tensor.random(g.inputShape, &generator)
      let w = try Tensor.random(g.weightShape, &generator)
      let b = try Tensor.random([g.outputChannels], &generator)
      let dy = try Tensor.random(g.outputShape, &generator, layout: .channelsLast)
      let naive = NaiveConvolution(g: g)
      let limit = 2e-5
      for (withBias, withSum) in [(false, false), (true, false), (false, true), (true, true)] {
        let bias = withBias ? b : nil
        func addend(_ shape: [Int]) throws -> Tensor? { withSum ? try Tensor.random(shape, &generator) : nil }
        func copy(_ tensor: Tensor?) throws -> Tensor? { try tensor?.copied(arena: nil) }

        let y0 = try addend(g.outputShape)
        let expected = try naive.forward(x, w, bias, y0)
        let y = try Convolution.forward(g, input: x, weight: w, bias: bias, addingTo: copy(y0), context)
        #expect(y.layout == .channelsLast && y.shape == g.outputShape)
        #expect(try relativeError(y, expected) < limit)
        let y1 = try BLASConvolution.forward(
          g, input: x.channelsLast(), weight: w, bias: bias, addingTo: copy(y0)?.channelsLast(), context)
        #expect(try relativeError(y1, expected) < limit)

        let x0 = try addend(g.inputShape)
        let expectedInput = try naive.inputGradient(dy, w, x0)
        let dx = try Convolution.inputGradient(g, outputGradient: dy, weight: w, addingTo: copy(x0), context)
        #expect(dx.layout == .channelsLast && dx.shape == g.inputShape)
        #expect(try relativeError(dx, expectedInput) < limit)
        let dx1 = try BLASConvolution.inputGradient(
          g, outputGradient: dy, weight: w, addingTo: copy(x0)?.channelsLast(), context)
        #expect(try relativeError(dx1, expectedInput) < limit)

        let w0 = try addend(g.weightShape)
        let expectedWeight = try naive.weightGradient(x, dy, w0)
        let dw = try Convolution.weightGradient(g, input: x, outputGradient: dy, addingTo: copy(w0), context)
        #expect(dw.layout == .rowMajor && dw.shape == g.weightShape)
        #expect(try relativeError(dw, expectedWeight) < limit)
        let dw1 = try BLASConvolution.weightGradient(
          g, input: x.channelsLast(), outputGradient: dy, addingTo: copy(w0), context)
        #expect(try relativeError(dw1, expectedWeight) < limit)
      }
    }
  }

  @Test(arguments: named + random) func triangle_anyGeometry_isAdjoint(g: ConvolutionGeometry) throws {
    try serially {
      let context = ComputeContext()
      var generator = Random(seed: 3)
      let x = try Tensor.random(g.inputShape, &generator)
      let w = try Tensor.random(g.weightShape, &generator)
      let dy = try Tensor.random(g.outputShape, &generator)
      let y = try Convolution.forward(g, input: x, weight: w, context)
      let dx = try Convolution.inputGradient(g, outputGradient: dy, weight: w, context)
      let dw = try Convolution.weightGradient(g, input: x, outputGradient: dy, context)
      let value = try inner(y, dy)
      let scale = try (inner(y, y) * inner(dy, dy)).squareRoot() + 1
      #expect(try abs(inner(x, dx) - value) / scale < 1e-5)
      #expect(try abs(inner(w, dw) - value) / scale < 1e-5)
    }
  }

  @Test func forward_concurrentCalls_giveTheSameBits() throws {
    let context = ComputeContext()
    var generator = Random(seed: 11)
    let geometries = Array(Self.named.prefix(8))
    let operands = try geometries.map { g in
      try (
        g, Tensor.random(g.inputShape, &generator), Tensor.random(g.weightShape, &generator),
        Tensor.random(g.outputShape, &generator)
      )
    }
    func run(_ index: Int) throws -> [Float] {
      let (g, x, w, dy) = operands[index % operands.count]
      return try Convolution.forward(g, input: x, weight: w, context).array()
        + Convolution.inputGradient(g, outputGradient: dy, weight: w, context).array()
        + Convolution.weightGradient(g, input: x, outputGradient: dy, context).array()
    }
    let alone = try serially { try (0..<operands.count).map(run) }
    try Workers(threads: 4).ordered(200) { try run($0) } combine: { index, result in
      #expect(result == alone[index % alone.count])
    }
  }

  @Test func forward_addendIsAlsoInput_isNotOverwrittenWhileRead() throws {
    try serially {
      let context = ComputeContext()
      var generator = Random(seed: 5)
      let g = try ConvolutionGeometry(input: [1, 4, 6, 6], weight: [4, 4, 3, 3], pads: [1, 1, 1, 1])
      let x = try Tensor.random(g.inputShape, &generator, layout: .channelsLast)
      let w = try Tensor.random(g.weightShape, &generator)
      let expected = try NaiveConvolution(g: g).forward(x, w, nil, x)
      let y = try Convolution.forward(g, input: x, weight: w, addingTo: x, context)
      #expect(try relativeError(y, expected) < 1e-5)
    }
  }

  @Test func triangle_emptyBatch_givesEmptyOrZero() throws {
    let context = ComputeContext()
    let g = try ConvolutionGeometry(input: [0, 2, 4, 4], weight: [3, 2, 3, 3])
    let x = try Tensor.zeros(.float32, g.inputShape)
    let w = try Tensor.zeros(.float32, g.weightShape)
    let y = try Convolution.forward(g, input: x, weight: w, context)
    #expect(y.shape == [0, 3, 2, 2])
    #expect(try Convolution.weightGradient(g, input: x, outputGradient: y, context).doubles().allSatisfy { $0 == 0 })
    let noInput = try ConvolutionGeometry(input: [1, 0, 4, 4], weight: [2, 0, 3, 3])
    let bias = try Tensor([1, 2] as [Float], shape: [2])
    let filled = try Convolution.forward(
      noInput, input: .zeros(.float32, noInput.inputShape), weight: .zeros(.float32, noInput.weightShape), bias: bias,
      context)
    #expect(try filled.doubles() == [Double](repeating: 1, count: 4) + [Double](repeating: 2, count: 4))
  }

  @Test(arguments: [
    ([1, 2, 4], [3, 2, 3, 3], [Int](), [Int](), [Int](), 1),
    ([1, 2, 4, 4], [3, 2, 7, 3], [], [], [], 1),
    ([1, 2, 4, 4], [3, 2, 3, 3], [0, 1], [], [], 1),
    ([1, 2, 4, 4], [3, 2, 3, 3], [], [1, -1], [], 1),
    ([1, 2, 4, 4], [3, 2, 3, 3], [], [], [0, 0, -1, 0], 1),
    ([1, 2, 4, 4], [3, 2, 3, 3], [1], [], [], 1),
    ([1, 4, 4, 4], [3, 2, 3, 3], [], [], [], 2),
    ([1, 4, 4, 4], [4, 2, 3, 3], [], [], [], 0),
    ([1, 4, 4, 4], [4, 4, 0, 3], [], [], [], 1),
    ([1, 1, Int.max, Int.max], [1, 1, 1, 1], [], [], [], 1),
    ([1, 1, 4, 4], [1, 1, 1, 1], [], [], [Int.max, 0, Int.max, 0], 1),
    ([1, 1, 4, 4], [1, 1, 2, 2], [], [Int.max, 1], [], 1),
    ([-1, 1, 4, 4], [1, 1, 2, 2], [], [], [], 1),
  ])
  func geometry_impossible_throws(
    input: [Int], weight: [Int], strides: [Int], dilations: [Int], pads: [Int], groups: Int
  ) {
    let error = #expect(throws: CetError.self) {
      try ConvolutionGeometry(
        input: input, weight: weight, strides: strides, dilations: dilations, pads: pads, groups: groups)
    }
    #expect(error?.code == .shapeMismatch)
  }

  @Test func forward_wrongOperands_throw() throws {
    let context = ComputeContext()
    let g = try ConvolutionGeometry(input: [1, 2, 4, 4], weight: [3, 2, 3, 3])
    let x = try Tensor.zeros(.float32, g.inputShape)
    let w = try Tensor.zeros(.float32, [3, 2, 3, 2])
    #expect(throws: CetError.self) { try Convolution.forward(g, input: x, weight: w, context) }
    let doubles = try Tensor.zeros(.float64, g.weightShape)
    #expect(throws: CetError.self) { try Convolution.forward(g, input: x, weight: doubles, context) }
  }
}
