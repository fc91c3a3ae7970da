import Glibc

/// A plan whose loss on new samples is known, to predict those of other plans of the same sensitivity table by: losses of single
/// tensors add up to another loss than that of all of them, because later layers make up for earlier ones (the factor of theory
/// 5b, one for all tensors) and because the table is made at another temperature.
public struct PredictionAnchor: Sendable, Equatable {
  /// Sum of the table's losses at the judged plan's bits.
  public var tableLoss: Double
  public var expected: LossEstimate

  public init?(tableLoss: Double?, expected: LossEstimate?) {
    guard let tableLoss, let expected, tableLoss > 0, expected.loss > 0 else { return nil }
    self.tableLoss = tableLoss
    self.expected = expected
  }

  /// The interval widens by this power of the ratio between the two plans' table losses.
  private static let spread = 0.35

  /// What a plan with this sum of table losses is expected to lose on new samples.
  public func prediction(tableLoss other: Double) -> LossEstimate {
    let scale = other / tableLoss
    guard scale > 0, scale.isFinite else { return LossEstimate(loss: 0, interval: nil) }
    let widening = pow(max(scale, 1 / scale), PredictionAnchor.spread)
    return LossEstimate(
      loss: expected.loss * scale,
      interval: expected.interval.map { ($0.lowerBound * scale / widening)...($0.upperBound * scale * widening) })
  }

  /// The largest sum of table losses whose predicted interval ends below `limit`.
  func tableLoss(whosePredictionIsBelow limit: Double) -> Double {
    let scale = limit / expected.bound
    guard expected.interval != nil else { return tableLoss * scale }
    // The upper end grows by scale^(1 ± spread).
    return tableLoss * pow(scale, 1 / (scale > 1 ? 1 + PredictionAnchor.spread : 1 - PredictionAnchor.spread))
  }
}
