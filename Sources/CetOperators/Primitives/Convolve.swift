import CetTensor

/// The three bilinear maps of a convolution. They are each other's partial derivatives, so the family is
/// closed under differentiation:
///   forward         y = x ∗ w          (inputs x, w)
///   inputGradient   x̄ = ȳ ⊛ w          (inputs ȳ, w); also the transposed convolution
///   weightGradient  w̄ = x ⋆ ȳ          (inputs x, ȳ)
/// with ⟨x ∗ w, ȳ⟩ = ⟨x, ȳ ⊛ w⟩ = ⟨w, x ⋆ ȳ⟩.
public struct Convolve: AccumulatingPrimitive {
  public enum Map: String, Hashable, Sendable { case forward, inputGradient, weightGradient }
  public let map: Map
  public let geometry: ConvolutionGeometry

  public init(_ map: Map, _ geometry: ConvolutionGeometry) {
    self.map = map
    self.geometry = geometry
  }

  public var name: String { "convolution \(map.rawValue)" }

  private var xShape: [Int] { [geometry.batch, geometry.inputChannels] + geometry.inputSpatial }
  private var yShape: [Int] { [geometry.batch, geometry.outputChannels] + geometry.outputSpatial }
  private var wShape: [Int] {
    [geometry.outputChannels, geometry.inputChannels / max(geometry.groups, 1)] + geometry.kernel
  }

  public func infer(_ inputs: [TensorType]) throws(CetError) -> [TensorType] {
    let (first, second, result) =
      switch map {
      case .forward: (xShape, wShape, yShape)
      case .inputGradient: (yShape, wShape, xShape)
      case .weightGradient: (xShape, yShape, wShape)
      }
    let element = inputs[0].element
    guard element.isFloatingPoint, inputs.allSatisfy({ $0.element == element }), inputs[0].shape == first, inputs[1].shape == second else {
      throw CetError(
        .shapeMismatch,
        "\(name) expects floating-point \(first.shapeText) and \(second.shapeText), got \(inputs[0].element) \(inputs[0].shape.shapeText) and \(inputs[1].element) \(inputs[1].shape.shapeText)"
      )
    }
    return [TensorType(element, result)]
  }

  public func work(_ inputs: [TensorType], _ outputs: [TensorType]) -> Int {
    Int.saturatingProduct(geometry.batch, geometry.workPerSample) / 32 + outputs[0].count
  }

  public func run(_ inputs: [Tensor], _ context: ComputeContext) throws(CetError) -> [Tensor] {
    try inSinglePrecision(inputs, context) { x throws(CetError) in try runSingle(x, context) }
  }

  public func run(_ inputs: [Tensor], addingTo sum: Tensor, _ context: ComputeContext) throws(CetError) -> Tensor {
    switch map {
    case .forward:
      try Convolution.forward(
        geometry, input: inputs[0], weight: inputs[1], bias: inputs.count > 2 ? inputs[2] : nil, addingTo: sum, context)
    case .inputGradient:
      try Convolution.inputGradient(geometry, outputGradient: inputs[0], weight: inputs[1], addingTo: sum, context)
    case .weightGradient:
      try Convolution.weightGradient(geometry, input: inputs[0], outputGradient: inputs[1], addingTo: sum, context)
    }
  }

  private func runSingle(_ inputs: [Tensor], _ context: ComputeContext) throws(CetError) -> [Tensor] {
    switch map {
    case .forward:
      return [
        try Convolution.forward(
          geometry, input: inputs[0], weight: inputs[1], bias: inputs.count > 2 ? inputs[2] : nil, context)
      ]
    case .inputGradient:
      return [try Convolution.inputGradient(geometry, outputGradient: inputs[0], weight: inputs[1], context)]
    case .weightGradient:
      return [try Convolution.weightGradient(geometry, input: inputs[0], outputGradient: inputs[1], context)]
    }
  }

  public func jvp(_ call: Call, tangents: [Value?], _ e: Emitter) throws(CetError) -> [Value?] {
    // B(ȧ, b) + B(a, ḃ), plus the tangent of the bias
    let left = try tangents[0].map { x throws(CetError) in try e.emit(self, x, call.inputs[1]) }
    let right = try tangents[1].map { x throws(CetError) in try e.emit(self, call.inputs[0], x) }
    var total = try e.sum(left, right)
    if tangents.count > 2, let bias = tangents[2] {
      let perChannel = try e.reshape(bias, [1, bias.shape[0]] + geometry.outputSpatial.map { _ in 1 })
      total = try e.sum(total, e.expand(perChannel, yShape))
    }
    return [total]
  }

  public func vjp(_ call: Call, cotangents: [Value?], wanted: [Bool], _ e: Emitter) throws(CetError) -> [Value?] {
    guard let g = cotangents[0] else { return call.inputs.map { _ in nil } }
    let (a, b) = (call.inputs[0], call.inputs[1])
    func apply(_ map: Map, _ x: Value, _ y: Value) throws(CetError) -> Value { try e.emit(Convolve(map, geometry), x, y) }
    var result = [Value?](repeating: nil, count: call.inputs.count)
    switch map {
    case .forward:
      if wanted[0] { result[0] = try apply(.inputGradient, g, b) }
      if wanted[1] { result[1] = try apply(.weightGradient, a, g) }
      if wanted.count > 2, wanted[2] {
        let axes = [0] + Array(2..<g.rank)
        result[2] = try e.reshape(e.emit(Sum(axes: axes), g), [geometry.outputChannels])
      }
    case .inputGradient:
      if wanted[0] { result[0] = try apply(.forward, g, b) }
      if wanted[1] { result[1] = try apply(.weightGradient, g, a) }
    case .weightGradient:
      if wanted[0] { result[0] = try apply(.inputGradient, b, g) }
      if wanted[1] { result[1] = try apply(.forward, a, g) }
    }
    return result
  }
}
