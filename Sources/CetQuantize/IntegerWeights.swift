import CetTensor

/// Weights as kernels of integers take them: w = code · scale, codes of int8, one scale an index of the axis, so that the zero
/// point is 0 everywhere. What was quantized to few bits keeps its values where the grid has whole steps; trellis codes, grids in
/// blocks and most of those of 7 and 8 bits are rounded once more, by about 1/127 of the largest weight of a row.
///
/// No two codes of a row have magnitudes of more than 128 together. Kernels for processors with AVX2 or AVX-512 but without VNNI
/// add the products of two neighbours in 16 bits (vpmaddubsw), where 255 · 128 = 32 640 is the most that does not saturate; which
/// codes become neighbours is up to the kernel.
public struct IntegerWeights {
  /// Axis of the scales; nil: one for all.
  public let axis: Int?
  public let scales: [Float]
  private static let highestCode: Float = 127
  /// Of the magnitudes of any two codes of a row.
  private static let highestPair: Float = 128
  /// Of a bias in int32, with room to spare.
  private static let highestBias: Float = 0x1p30
  /// A product of two such scales is a normal number.
  static let leastScale: Float = 0x1p-62
  /// 127 codes are a finite number.
  private static let highestScale: Float = 0x1p120

  /// - Parameters:
  ///   - bias: what is added to the sums of products of codes, as whole multiples of inputScale · scale: a row that is small
  ///     beside its bias gets a scale for which that is an int32. nil: it is added elsewhere.
  ///   - inputScale: of the activation that the weights multiply.
  public init(_ tensor: QuantizedTensor, bias: [Float]?, inputScale: Float) {
    axis = tensor.axis
    let (order, own) = (tensor.order, IntegerWeights.ownScales(tensor))
    var peaks = [Peaks](repeating: Peaks(), count: order.rows)
    for (place, value) in order.rowsFirst(tensor.dequantized()).enumerated() { peaks[place / max(1, order.columns)].add(abs(value)) }
    var scales = peaks.enumerated().map { row, peaks in
      if let own, peaks.fit(own[row]) { return own[row] }
      return peaks.largest > 0 ? peaks.scale : 1
    }
    for row in scales.indices { scales[row] = max(scales[row], IntegerWeights.leastScale) }
    for (channel, value) in (bias ?? []).enumerated() {
      let row = scales.count == 1 ? 0 : channel
      // A bias that not even such a scale can hold is cut: the losses told say what that costs.
      let least = min(abs(value) / (IntegerWeights.highestBias * inputScale), IntegerWeights.highestScale / max(1, inputScale))
      scales[row] = max(scales[row], least)
    }
    self.scales = scales
  }

  /// Steps of the grid of a tensor, one a row; nil: a row has several, or none.
  private static func ownScales(_ tensor: QuantizedTensor) -> [Float]? {
    guard !tensor.coding.isTrellis, tensor.blocksPerRow == 1 else { return nil }
    return tensor.scales.map { $0 / Float(tensor.zeroUnit) }
  }

  /// The two largest magnitudes of a row.
  private struct Peaks {
    private(set) var largest: Float = 0
    private var second: Float = 0

    mutating func add(_ magnitude: Float) {
      if magnitude > largest { (largest, second) = (magnitude, largest) } else { second = max(second, magnitude) }
    }

    /// Whether codes of a scale that divides the weights are in range.
    func fit(_ scale: Float) -> Bool {
      (largest / scale).rounded() <= highestCode && (largest / scale).rounded() + (second / scale).rounded() <= highestPair
    }

    /// The least with which codes are in range: rounding adds up to 1/2 to each of the two.
    var scale: Float { max(largest / highestCode, largest / (highestPair - 1) + second / (highestPair - 1)) }
  }

  /// The values that are left of weights in C order: what QuantizeLinear and DequantizeLinear make of them.
  public func rounded(_ values: [Float], _ order: RowOrder) -> [Float] {
    order.tensorOrder(rowCodes(values, order).map { code, scale in code * scale })
  }

  /// What QuantizeLinear makes of weights in C order.
  public func codes(_ values: [Float], _ order: RowOrder) -> [Int8] {
    order.tensorOrder(rowCodes(values, order).map { code, _ in Int8(code) })
  }

  /// Row by row, each with its scale.
  private func rowCodes(_ values: [Float], _ order: RowOrder) -> [(code: Float, scale: Float)] {
    order.rowsFirst(values).enumerated().map { place, value in
      let scale = scales[place / max(1, order.columns)]
      return (IntegerWeights.whole(value / scale, IntegerWeights.highestCode), scale)
    }
  }

  /// The values that are left of a bias that is added to sums of products of codes.
  public func rounded(bias: [Float], inputScale: Float) -> [Float] {
    zip(codes(bias: bias, inputScale: inputScale), biasScales(bias.count, inputScale: inputScale)).map { Float($0) * $1 }
  }

  /// The whole numbers that kernels add to sums of products of codes.
  public func codes(bias: [Float], inputScale: Float) -> [Int32] {
    zip(bias, biasScales(bias.count, inputScale: inputScale)).map { Int32(IntegerWeights.whole($0 / $1, Float(0x1p31).nextDown)) }
  }

  /// The nearest whole number, no further from 0 than `limit`; 0 of what is no number.
  private static func whole(_ value: Float, _ limit: Float) -> Float {
    value.isNaN ? 0 : min(max(value.rounded(.toNearestOrEven), -limit), limit)
  }

  /// What these count in, one a channel.
  public func biasScales(_ count: Int, inputScale: Float) -> [Float] {
    (0..<count).map { inputScale * (scales.count == 1 ? scales[0] : scales[$0]) }
  }
}
