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
    if let most = samplesAtOnce(g) {
      let result = try sum.or(Tensor(uninitialized: .float32, g.outputShape, layout: .channelsLast, arena: context.arena))
      try context.pieces(g.batch, of: most) { part throws(CetError) in
        let target = try result.samples(part)
        try forward(
          g.of(samples: part.count), input: input.samples(part), weight: weight, bias: bias, addingTo: sum == nil ? nil : target,
          context
        ).copy(to: target)
      }
      return result
    }
    if takesLong(g) { return try BLASConvolution.forward(g, input: input, weight: weight, bias: bias, addingTo: sum, context) }
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
    if let most = samplesAtOnce(g) {
      let result = try sum.or(Tensor(uninitialized: .float32, g.inputShape, layout: .channelsLast, arena: context.arena))
      try context.pieces(g.batch, of: most) { part throws(CetError) in
        let target = try result.samples(part)
        try inputGradient(
          g.of(samples: part.count), outputGradient: gradient.samples(part), weight: weight, addingTo: sum == nil ? nil : target,
          context
        ).copy(to: target)
      }
      return result
    }
    if takesLong(g) {
      return try BLASConvolution.inputGradient(g, outputGradient: gradient, weight: weight, addingTo: sum, context)
    }
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
    if let most = samplesAtOnce(g) {
      var result = sum
      try context.pieces(g.batch, of: most) { part throws(CetError) in
        result = try weightGradient(
          g.of(samples: part.count), input: input.samples(part), outputGradient: gradient.samples(part), addingTo: result, context)
      }
      return try result.or(.zeros(.float32, g.weightShape, arena: context.arena))
    }
    if takesLong(g) {
      return try BLASConvolution.weightGradient(g, input: input, outputGradient: gradient, addingTo: sum, context)
    }
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

  /// Of a convolution that takes long, the samples that are computed together; nil where all are.
  private static func samplesAtOnce(_ g: ConvolutionGeometry) -> Int? {
    let most = max(1, ComputeContext.productSize / g.workPerSample)
    return g.batch > most ? most : nil
  }

  /// Whether even one sample takes longer than a call may go on without looking whether it is to end: tiles then, between
  /// which it looks.
  private static func takesLong(_ g: ConvolutionGeometry) -> Bool { g.workPerSample > ComputeContext.productSize }

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

extension Tensor {
  /// Samples, the entries of the leading axis, sharing memory.
  fileprivate func samples(_ range: Range<Int>) throws(CetError) -> Tensor {
    try Tensor(
      type: type, shape: [range.count] + shape.dropFirst(), layout: layout, storage: storage,
      byteOffset: byteOffset + range.lowerBound * shape.dropFirst().reduce(1, *) * type.byteWidth)
  }

  /// Writes the elements over those of a tensor of the same shape and layout, unless they lie there already.
  fileprivate func copy(to target: Tensor) throws(CetError) {
    let source = try converted(to: target.layout)
    guard source.pointer != target.pointer else { return }
    target.pointer.copyMemory(from: source.pointer, byteCount: byteCount)
  }
}
