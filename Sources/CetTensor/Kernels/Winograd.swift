import CKernels

/// Convolutions with 3×3 kernels and unit strides by minimal filtering (Lavin and Gray, 2015): a quarter of the
/// multiplications. nil where it does not apply or does not pay.
enum Winograd {
  /// Transforming the weights costs as much as some tiles do.
  private static let leastTiles = 24
  /// Transformed weights take four times the memory of the weights: at most 151 MB a call.
  private static let mostWeights = 1 << 20

  static let supported = ck_winograd_supported()

  static func forward(
    _ g: ConvolutionGeometry, input: Tensor, weight: Tensor, addingTo sum: Tensor?, _ context: ComputeContext
  ) throws(CetError) -> Tensor? {
    guard let job = job(g, context) else { return nil }
    let result = try sum.or(Tensor(uninitialized: .float32, g.outputShape, layout: .channelsLast, arena: context.arena))
    try convolve(job, input, weight, gradient: false, into: result, accumulate: sum != nil, context)
    return result
  }

  static func inputGradient(
    _ g: ConvolutionGeometry, outputGradient: Tensor, weight: Tensor, addingTo sum: Tensor?, _ context: ComputeContext
  ) throws(CetError) -> Tensor? {
    guard let job = job(g, context) else { return nil }
    // x̄ = ȳ ∗ w turned by 180°, with as much padding as brings the window's last row to the first output.
    let back = ck_winograd(
      batch: job.batch, height: job.out_height, width: job.out_width, in: job.out, out_height: job.height,
      out_width: job.width, out: job.in, pad_top: 2 - job.pad_top, pad_left: 2 - job.pad_left)
    let result = try sum.or(Tensor(uninitialized: .float32, g.inputShape, layout: .channelsLast, arena: context.arena))
    try convolve(back, outputGradient, weight, gradient: true, into: result, accumulate: sum != nil, context)
    return result
  }

  static func weightGradient(
    _ g: ConvolutionGeometry, input: Tensor, outputGradient: Tensor, addingTo sum: Tensor?, _ context: ComputeContext
  ) throws(CetError) -> Tensor? {
    guard var job = job(g, context) else { return nil }
    let result = try sum.or(Tensor(uninitialized: .float32, g.weightShape, arena: context.arena))
    let sums = try Tensor(uninitialized: .float32, [36, job.in, job.out], arena: context.arena)
    let scratch = try Tensor(uninitialized: .float32, [ck_winograd_scratch(&job)], arena: context.arena)
    ck_winograd_weight_gradient_f32(
      &job, sum != nil, input.floats, outputGradient.floats, result.floats, sums.floats, scratch.floats)
    return result
  }

  private static func job(_ g: ConvolutionGeometry, _ context: ComputeContext) -> ck_winograd? {
    guard context.minimalFiltering, supported, g.kernel == [3, 3], g.strides == [1, 1], g.dilations == [1, 1],
      g.groups == 1, g.inputChannels % 16 == 0, g.outputChannels % 16 == 0,
      g.inputChannels <= mostWeights / g.outputChannels
    else { return nil }
    let tiles = g.batch * ((g.outputSpatial[0] + 3) / 4) * ((g.outputSpatial[1] + 3) / 4)
    guard tiles >= leastTiles else { return nil }
    return ck_winograd(
      batch: g.batch, height: g.inputSpatial[0], width: g.inputSpatial[1], in: g.inputChannels,
      out_height: g.outputSpatial[0], out_width: g.outputSpatial[1], out: g.outputChannels, pad_top: g.padsBegin[0],
      pad_left: g.padsBegin[1])
  }

  private static func convolve(
    _ job: ck_winograd, _ x: Tensor, _ weight: Tensor, gradient: Bool, into result: Tensor, accumulate: Bool,
    _ context: ComputeContext
  ) throws(CetError) {
    var job = job
    let filters = try Tensor(uninitialized: .float32, [36, job.in, job.out], arena: context.arena)
    let (out, channels) = gradient ? (job.in, job.out) : (job.out, job.in)
    ck_winograd_filter_f32(gradient, weight.floats, filters.floats, out, channels)
    let scratch = try Tensor(uninitialized: .float32, [ck_winograd_scratch(&job)], arena: context.arena)
    ck_winograd_forward_f32(&job, accumulate, x.floats, filters.floats, result.floats, scratch.floats)
  }
}
