import CetTensor

/// Weights as kernels of integers take them: w = code · scale, codes −127 … 127, one scale an index of the axis, so that the
/// zero point is 0 everywhere. What was quantized to few bits keeps its values where the grid has whole steps; trellis codes,
/// grids in blocks and those of 8 bits are rounded once more, by at most 1/254 of the largest weight of a row.
public struct IntegerWeights {
  /// Axis of the scales; nil: one for all.
  public let axis: Int?
  public let scales: [Float]
  private static let highestCode: Float = 127
  /// Of a bias in int32, with room to spare.
  private static let highestBias: Float = 0x1p30
  /// A product of two such scales is a normal number.
  static let leastScale: Float = 0x1p-62

  /// - Parameters:
  ///   - bias: what is added to the sums of products of codes, as whole multiples of inputScale · scale: a row that is small
  ///     beside its bias gets a scale for which that is an int32. nil: it is added elsewhere.
  ///   - inputScale: of the activation that the weights multiply.
  public init(_ tensor: QuantizedTensor, bias: [Float]?, inputScale: Float) {
    axis = tensor.axis
    let order = tensor.order
    let unit = tensor.zeroUnit
    var scales: [Float]
    if tensor.coding == .affine, tensor.blocksPerRow == 1, unit * ((1 << tensor.bits) - 1) <= Int(IntegerWeights.highestCode) {
      scales = tensor.scales.map { $0 / Float(unit) }
    } else {
      let rows = order.rows
      var peaks = [Float](repeating: 0, count: rows)
      let values = order.rowsFirst(tensor.dequantized())
      for (place, value) in values.enumerated() { peaks[place / max(1, order.columns)] = max(peaks[place / max(1, order.columns)], abs(value)) }
      scales = peaks.map { $0 > 0 ? $0 / IntegerWeights.highestCode : 1 }
    }
    for row in scales.indices { scales[row] = max(scales[row], IntegerWeights.leastScale) }
    for (channel, value) in (bias ?? []).enumerated() {
      let row = scales.count == 1 ? 0 : channel
      scales[row] = max(scales[row], abs(value) / (IntegerWeights.highestBias * inputScale))
    }
    self.scales = scales
  }

  /// The values that are left of weights in C order: what QuantizeLinear and DequantizeLinear make of them.
  public func rounded(_ values: [Float], _ order: RowOrder) -> [Float] {
    let rows = order.rowsFirst(values)
    let result = rows.indices.map { place in
      let scale = scales[place / max(1, order.columns)]
      let code = min(max((rows[place] / scale).rounded(.toNearestOrEven), -IntegerWeights.highestCode), IntegerWeights.highestCode)
      return code * scale
    }
    return order.tensorOrder(result)
  }

  /// The values that are left of a bias that is added to sums of products of codes.
  public func rounded(bias: [Float], inputScale: Float) -> [Float] {
    bias.indices.map { channel in
      let scale = inputScale * (scales.count == 1 ? scales[0] : scales[channel])
      return (bias[channel] / scale).rounded(.toNearestOrEven) * scale
    }
  }
}
