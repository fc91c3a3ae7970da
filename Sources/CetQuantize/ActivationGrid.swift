import CetTensor

/// The grid of a value that is rounded while the model runs: value = (code − zero point) · scale, codes 0 … 2^bits − 1, one
/// scale and one zero point for all elements. Zero is one of its values, because padding and Relu make zeros.
public struct ActivationGrid: Sendable, Equatable {
  /// 4 and 8 in a code of 8 bits, 16 in one of 16.
  public static let widths = [4, 8, 16]

  public let bits: Int
  /// Positive and finite.
  public let scale: Float
  public let zeroPoint: Int

  public var highestCode: Int { (1 << bits) - 1 }
  /// The least and the greatest value.
  public var low: Float { Float(-zeroPoint) * scale }
  public var high: Float { Float(highestCode - zeroPoint) * scale }

  public init(bits: Int, scale: Float, zeroPoint: Int) throws(CetError) {
    guard ActivationGrid.widths.contains(bits) else {
      throw CetError(.invalidArgument, "bits of an activation", expected: "4, 8 or 16", got: "\(bits)")
    }
    guard scale > 0, scale.isFinite else {
      throw CetError(.invalidArgument, "the scale of an activation", expected: "a positive number", got: "\(scale)")
    }
    guard (0...((1 << bits) - 1)).contains(zeroPoint) else {
      throw CetError(.invalidArgument, "the zero point of an activation", expected: "0 to \((1 << bits) - 1)", got: "\(zeroPoint)")
    }
    self.bits = bits
    self.scale = scale
    self.zeroPoint = zeroPoint
  }

  /// The grid that covers a range, widened to hold zero. One that holds nothing else gets the scale 1.
  public init(bits: Int, low: Float, high: Float) throws(CetError) {
    guard low.isFinite, high.isFinite else {
      throw CetError(.numeric, "the range of an activation", expected: "finite values", got: "\(low) to \(high)")
    }
    let levels = Double((1 << bits) - 1)
    let (least, most) = (Double(min(low, 0)), Double(max(high, 0)))
    // The range of all of float32 has a step of its own.
    let scale = most > least ? max(Float((most - least) / levels), IntegerWeights.leastScale) : 1
    let zero = (-least / Double(scale)).rounded(.toNearestOrEven)
    try self.init(bits: bits, scale: scale, zeroPoint: Int(min(max(zero, 0), levels)))
  }

  /// As programs are fed it: see `RoundToGrid`.
  public func tensor() throws(CetError) -> Tensor {
    try Tensor([scale, Float(zeroPoint), Float(highestCode)], shape: [3])
  }

  /// What programs are fed where a value stays as it is.
  public static func none() throws(CetError) -> Tensor { try Tensor([Float(1), 0, 0], shape: [3]) }
}
