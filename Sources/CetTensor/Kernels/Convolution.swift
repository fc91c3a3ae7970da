import CKernels

/// The convolution triangle. With y = conv(x, w), which is linear in x and in w,
///   <conv(x, w), g> = <x, inputGradient(g, w)> = <w, weightGradient(x, g)>,
/// so every derivative of one of the three, of any order, is again one of the three.
///
/// Activations may come in any layout and leave in `.channelsLast`; weights are plain (O, I/groups, kernel...).
/// `addingTo` is added to the result; it has the result's shape, and its memory may be overwritten or returned.
public enum Convolution {
  enum Kind: Hashable, Sendable { case forward, inputGradient, weightGradient }

  /// y[n,o,p] = bias[o] + sum over i, k of w[o,i,k] x[n,i,p*stride + k*dilation - pad]
  public static func forward(
    _ g: ConvolutionGeometry, input: Tensor, weight: Tensor, bias: Tensor? = nil, addingTo: Tensor? = nil,
    _ context: ComputeContext
  ) throws(CetError) -> Tensor {
    try input.require(g.inputShape, "convolution input")
    try weight.require(g.weightShape, "convolution weight")
    try bias?.require([g.outputChannels], "convolution bias")
    try addingTo?.require(g.outputShape, "convolution addend")
    let sum = try addingTo?.writable(.channelsLast, operands: [input, weight, bias], context)
    if g.isEmpty { return try emptyForward(g, bias: bias, addingTo: sum, context) }
    let input = try input.channelsLast(arena: context.arena)
    let weight = try weight.rowMajor(arena: context.arena)
    if let result = try Winograd.forward(g, input: input, weight: weight, addingTo: sum, context) {
      if let bias {
        ck_add_row_f32(result.floats, bias.floats, result.floats, result.count / g.outputChannels, g.outputChannels)
      }
      return result
    }
    #if CET_ONEDNN
      if let library = context.oneDNN,
        let result = try library.forward(g, input: input, weight: weight, bias: bias, addingTo: sum, context)
      {
        return result
      }
    #endif
    return try BLASConvolution.forward(g, input: input, weight: weight, bias: bias, addingTo: sum, context)
  }

  /// The adjoint of `forward` in its input, applied to `outputGradient`.
  public static func inputGradient(
    _ g: ConvolutionGeometry, outputGradient: Tensor, weight: Tensor, addingTo: Tensor? = nil, _ context: ComputeContext
  ) throws(CetError) -> Tensor {
    try outputGradient.require(g.outputShape, "convolution output gradient")
    try weight.require(g.weightShape, "convolution weight")
    try addingTo?.require(g.inputShape, "convolution addend")
    let sum = try addingTo?.writable(.channelsLast, operands: [outputGradient, weight], context)
    if g.isEmpty { return try sum.or(.zeros(.float32, g.inputShape, layout: .channelsLast, arena: context.arena)) }
    let gradient = try outputGradient.channelsLast(arena: context.arena)
    let weight = try weight.rowMajor(arena: context.arena)
    if let result = try Winograd.inputGradient(g, outputGradient: gradient, weight: weight, addingTo: sum, context) {
      return result
    }
    #if CET_ONEDNN
      if let library = context.oneDNN,
        let result = try library.inputGradient(g, outputGradient: gradient, weight: weight, context)
      {
        return add(result, into: sum)
      }
    #endif
    return try BLASConvolution.inputGradient(g, outputGradient: gradient, weight: weight, addingTo: sum, context)
  }

  /// The adjoint of `forward` in its weight, applied to `outputGradient`. Row-major (O, I/groups, kernel...).
  public static func weightGradient(
    _ g: ConvolutionGeometry, input: Tensor, outputGradient: Tensor, addingTo: Tensor? = nil, _ context: ComputeContext
  ) throws(CetError) -> Tensor {
    try input.require(g.inputShape, "convolution input")
    try outputGradient.require(g.outputShape, "convolution output gradient")
    try addingTo?.require(g.weightShape, "convolution addend")
    let sum = try addingTo?.writable(.rowMajor, operands: [input, outputGradient], context)
    if g.isEmpty { return try sum.or(.zeros(.float32, g.weightShape, arena: context.arena)) }
    let input = try input.channelsLast(arena: context.arena)
    let gradient = try outputGradient.channelsLast(arena: context.arena)
    if let result = try Winograd.weightGradient(g, input: input, outputGradient: gradient, addingTo: sum, context) {
      return result
    }
    #if CET_ONEDNN
      if let library = context.oneDNN,
        let result = try library.weightGradient(g, input: input, outputGradient: gradient, context)
      {
        return add(result, into: sum)
      }
    #endif
    return try BLASConvolution.weightGradient(g, input: input, outputGradient: gradient, addingTo: sum, context)
  }

  /// Adds in place to the tensor that was just computed and that nobody else holds.
  private static func add(_ result: Tensor, into sum: Tensor?) -> Tensor {
    if let sum { ck_accumulate_f32(sum.floats, result.floats, result.count) }
    return result
  }

  private static func emptyForward(
    _ g: ConvolutionGeometry, bias: Tensor?, addingTo: Tensor?, _ context: ComputeContext
  ) throws(CetError) -> Tensor {
    let result = try addingTo.or(.zeros(.float32, g.outputShape, layout: .channelsLast, arena: context.arena))
    if let bias, result.count > 0 {
      ck_add_row_f32(result.floats, bias.floats, result.floats, result.count / g.outputChannels, g.outputChannels)
    }
    return result
  }
}
