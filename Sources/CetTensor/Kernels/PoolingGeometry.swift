/// The sizes of one pooling with one to three spatial axes, validated once.
public struct PoolingGeometry: Hashable, Sendable {
  public let batch: Int
  public let channels: Int
  public let inputSpatial: [Int]
  public let kernel: [Int]
  public let outputSpatial: [Int]
  public let strides: [Int]
  public let dilations: [Int]
  public let padsBegin: [Int]
  public let padsEnd: [Int]

  /// - Parameters:
  ///   - input: (N, C, spatial...)
  ///   - kernel: one size per spatial axis
  ///   - strides: one per spatial axis; empty means all 1.
  ///   - dilations: one per spatial axis; empty means all 1.
  ///   - pads: ONNX order (all begins, then all ends); empty means all 0.
  ///   - ceil: rounds the number of windows up, but no window starts in the end padding.
  public init(
    input: [Int], kernel: [Int], strides: [Int] = [], dilations: [Int] = [], pads: [Int] = [], ceil: Bool = false
  ) throws(CetError) {
    let spatial = kernel.count
    let strides = strides.isEmpty ? [Int](repeating: 1, count: spatial) : strides
    let dilations = dilations.isEmpty ? [Int](repeating: 1, count: spatial) : dilations
    let pads = pads.isEmpty ? [Int](repeating: 0, count: 2 * spatial) : pads
    guard spatial >= 1, input.count == spatial + 2, input.validatedCount != nil, strides.count == spatial,
      dilations.count == spatial, pads.count == 2 * spatial
    else {
      throw CetError(
        .shapeMismatch,
        "pooling: input \(input.shapeText) does not fit kernel \(kernel), strides \(strides), dilations \(dilations), pads \(pads)")
    }
    batch = input[0]
    channels = input[1]
    inputSpatial = Array(input[2...])
    self.kernel = kernel
    self.strides = strides
    self.dilations = dilations
    padsBegin = Array(pads[..<spatial])
    padsEnd = Array(pads[spatial...])
    outputSpatial = try (0..<spatial).map { axis throws(CetError) in
      try windowCount(
        "pooling", axis: axis, size: input[2 + axis], kernel: kernel[axis], stride: strides[axis],
        dilation: dilations[axis], padBegin: pads[axis], padEnd: pads[spatial + axis], ceil: ceil)
    }
    guard outputShape.validatedCount != nil, kernel.validatedCount != nil else {
      throw CetError(.shapeMismatch, "pooling: output \(outputShape.shapeText) is too large")
    }
  }

  /// One window over all spatial axes of (N, C, spatial...).
  public init(global input: [Int]) throws(CetError) {
    try self.init(input: input, kernel: Array(input.dropFirst(2)))
  }

  /// The same windows with end padding as far as the last of them reaches.
  public func padded() throws(CetError) -> PoolingGeometry {
    let ends = kernel.indices.map { axis in
      let reach = (outputSpatial[axis] - 1) * strides[axis] + (kernel[axis] - 1) * dilations[axis] + 1
      return max(0, reach - padsBegin[axis] - inputSpatial[axis])
    }
    return try PoolingGeometry(
      input: inputShape, kernel: kernel, strides: strides, dilations: dilations, pads: padsBegin + ends)
  }

  public var inputShape: [Int] { [batch, channels] + inputSpatial }
  public var outputShape: [Int] { [batch, channels] + outputSpatial }

  /// Elements of one sample.
  var inputSize: Int { channels * inputSpatial.elementCount }
  var outputSize: Int { channels * outputSpatial.elementCount }
}
