import Testing

@testable import CetTensor

/// Oracle: `NaiveConvolution`. Geometries where minimal filtering applies, with borders that tiles do not divide.
@Suite struct WinogradTests {
  struct Case: Sendable, CustomTestStringConvertible {
    let input: [Int]
    let outputs: Int
    let pads: [Int]
    var testDescription: String { "\(input) to \(outputs), pads \(pads)" }
  }

  static let cases = [
    Case(input: [2, 16, 13, 14], outputs: 32, pads: [1, 1, 1, 1]),
    Case(input: [1, 48, 24, 20], outputs: 16, pads: [0, 0, 0, 0]),
    Case(input: [3, 32, 9, 11], outputs: 48, pads: [2, 1, 0, 2]),
    Case(input: [6, 64, 7, 7], outputs: 32, pads: [1, 1, 1, 1]),
    Case(input: [24, 16, 3, 3], outputs: 16, pads: [0, 2, 2, 0]),
  ]

  /// Errors of the largest output: some 1e-6 for a direct sum, several times that here.
  private let tolerance = 1e-5

  private func geometry(_ c: Case) throws -> ConvolutionGeometry {
    try ConvolutionGeometry(
      input: c.input, weight: [c.outputs, c.input[1], 3, 3], pads: c.pads)
  }

  @Test(arguments: cases) func fastContext_givesTheDefinition(_ c: Case) throws {
    let g = try geometry(c)
    let naive = NaiveConvolution(g: g)
    let context = ComputeContext().fast
    var random = Random(seed: 11)
    let x = try Tensor.random(g.inputShape, &random, layout: .channelsLast)
    let w = try Tensor.random(g.weightShape, &random)
    let dy = try Tensor.random(g.outputShape, &random, layout: .channelsLast)
    let bias = try Tensor.random([g.outputChannels], &random)
    try serially {
      let y = try Convolution.forward(g, input: x, weight: w, bias: bias, context)
      #expect(try relativeError(y, naive.forward(x, w, bias, nil)) < tolerance)
      let addend = try Tensor.random(g.outputShape, &random, layout: .channelsLast)
      let expected = try naive.forward(x, w, bias, addend)
      #expect(try relativeError(Convolution.forward(g, input: x, weight: w, bias: bias, addingTo: addend, context), expected) < tolerance)

      let back = try Convolution.inputGradient(g, outputGradient: dy, weight: w, context)
      #expect(try relativeError(back, naive.inputGradient(dy, w, nil)) < tolerance)
      let before = try Tensor.random(g.inputShape, &random, layout: .channelsLast)
      let sum = try naive.inputGradient(dy, w, before)
      #expect(try relativeError(Convolution.inputGradient(g, outputGradient: dy, weight: w, addingTo: before, context), sum) < tolerance)

      let dw = try Convolution.weightGradient(g, input: x, outputGradient: dy, context)
      #expect(try relativeError(dw, naive.weightGradient(x, dy, nil)) < tolerance)
      let weights = try Tensor.random(g.weightShape, &random)
      let total = try naive.weightGradient(x, dy, weights)
      #expect(try relativeError(Convolution.weightGradient(g, input: x, outputGradient: dy, addingTo: weights, context), total) < tolerance)
    }
  }

  /// The kernel itself must be what the test above has met, where the processor has it.
  @Test(arguments: cases) func fastContext_takesMinimalFiltering(_ c: Case) throws {
    let g = try geometry(c)
    var random = Random(seed: 12)
    let x = try Tensor.random(g.inputShape, &random, layout: .channelsLast)
    let w = try Tensor.random(g.weightShape, &random)
    try serially {
      let fast = try Winograd.forward(g, input: x, weight: w, addingTo: nil, ComputeContext().fast)
      #expect((fast != nil) == Winograd.supported)
      #expect(try Winograd.forward(g, input: x, weight: w, addingTo: nil, ComputeContext()) == nil)
    }
  }
}
