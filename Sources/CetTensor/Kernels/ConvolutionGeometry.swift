/// The sizes of one convolution with any number of spatial axes, validated once. The three operators of the
/// triangle (forward, input gradient, weight gradient) share it.
public struct ConvolutionGeometry: Hashable, Sendable {
  public private(set) var batch: Int
  public let groups: Int
  public let inputChannels: Int
  public let outputChannels: Int
  public let inputSpatial: [Int]
  public let kernel: [Int]
  public let outputSpatial: [Int]
  public let strides: [Int]
  public let dilations: [Int]
  public let padsBegin: [Int]
  public let padsEnd: [Int]

  /// - Parameters:
  ///   - input: (N, C, spatial...)
  ///   - weight: (O, C / groups, kernel...)
  ///   - strides: one per spatial axis; empty means all 1.
  ///   - dilations: one per spatial axis; empty means all 1.
  ///   - pads: ONNX order (all begins, then all ends); empty means all 0.
  public init(
    input: [Int], weight: [Int], strides: [Int] = [], dilations: [Int] = [], pads: [Int] = [], groups: Int = 1
  ) throws(CetError) {
    guard input.count >= 3, weight.count == input.count else {
      throw CetError(
        .shapeMismatch,
        "convolution: input \(input.shapeText) and weight \(weight.shapeText) must have the same rank, 3 or more")
    }
    guard input.validatedCount != nil, weight.validatedCount != nil else {
      throw CetError(
        .shapeMismatch, "convolution: input \(input.shapeText) or weight \(weight.shapeText) is negative or too large")
    }
    let spatial = input.count - 2
    let strides = strides.isEmpty ? [Int](repeating: 1, count: spatial) : strides
    let dilations = dilations.isEmpty ? [Int](repeating: 1, count: spatial) : dilations
    let pads = pads.isEmpty ? [Int](repeating: 0, count: 2 * spatial) : pads
    guard strides.count == spatial, dilations.count == spatial, pads.count == 2 * spatial else {
      throw CetError(
        .shapeMismatch,
        "convolution: \(spatial) spatial axes, but \(strides.count) strides, \(dilations.count) dilations, \(pads.count) pads")
    }
    guard groups >= 1, input[1] % groups == 0, weight[0] % groups == 0, weight[1] == input[1] / groups else {
      throw CetError(
        .shapeMismatch,
        "convolution: weight \(weight.shapeText) does not fit input \(input.shapeText) with \(groups) groups")
    }
    batch = input[0]
    self.groups = groups
    inputChannels = input[1]
    outputChannels = weight[0]
    inputSpatial = Array(input[2...])
    kernel = Array(weight[2...])
    self.strides = strides
    self.dilations = dilations
    padsBegin = Array(pads[..<spatial])
    padsEnd = Array(pads[spatial...])
    outputSpatial = try (0..<spatial).map { axis throws(CetError) in
      try windowCount(
        "convolution", axis: axis, size: input[2 + axis], kernel: weight[2 + axis], stride: strides[axis],
        dilation: dilations[axis], padBegin: pads[axis], padEnd: pads[spatial + axis])
    }
    guard outputShape.validatedCount != nil else {
      throw CetError(.shapeMismatch, "convolution: output \(outputShape.shapeText) is too large")
    }
  }

  public var spatialRank: Int { kernel.count }
  public var inputShape: [Int] { [batch, inputChannels] + inputSpatial }
  public var weightShape: [Int] { [outputChannels, inputChannels / max(groups, 1)] + kernel }
  public var outputShape: [Int] { [batch, outputChannels] + outputSpatial }

  /// The same convolution of another number of samples, which is no larger.
  func of(samples: Int) -> ConvolutionGeometry {
    var part = self
    part.batch = samples
    return part
  }

  /// Multiplications for one sample.
  public var workPerSample: Int {
    let taps = Int.saturatingProduct(inputChannels / max(groups, 1), kernel.elementCount)
    return Int.saturatingProduct(outputChannels * outputSpatial.elementCount, taps)
  }

  /// No element on some side: the result is zero (or the bias), and no library needs to be asked.
  var isEmpty: Bool {
    inputShape.elementCount == 0 || weightShape.elementCount == 0 || outputShape.elementCount == 0
  }
}

/// The number of window positions along one axis: floor((size + pads - span) / stride) + 1, or with `ceil` the
/// ONNX pooling rule, where a last window that would start in the end padding is dropped.
func windowCount(
  _ what: String, axis: Int, size: Int, kernel: Int, stride: Int, dilation: Int, padBegin: Int, padEnd: Int,
  ceil: Bool = false
) throws(CetError) -> Int {
  // With every operand under 2^31 the sums and the product of the span fit in 64 bits.
  let limit = 1 << 31
  guard stride >= 1, dilation >= 1, kernel >= 1, padBegin >= 0, padEnd >= 0,
    max(max(size, kernel), max(stride, dilation), max(padBegin, padEnd)) < limit
  else {
    throw CetError(
      .shapeMismatch,
      "\(what): axis \(axis) has size \(size), kernel \(kernel), stride \(stride), dilation \(dilation), pads \(padBegin) and \(padEnd)")
  }
  let span = (kernel - 1) * dilation + 1
  let room = size + padBegin + padEnd - span
  guard room >= 0 else {
    throw CetError(
      .shapeMismatch, "\(what): axis \(axis): a window of \(span) does not fit \(size) with pads \(padBegin) and \(padEnd)")
  }
  guard ceil else { return room / stride + 1 }
  let count = (room + stride - 1) / stride + 1
  return (count - 1) * stride >= size + padBegin ? count - 1 : count
}
