/// Losses of published allocation methods, for the same knapsack. With the same quantizer and budget a comparison
/// shows the plan alone.
public enum Baselines {
  /// HAWQ-V2 (arXiv 1911.03852, Eq. 9): mean trace · ‖Q(W) − W‖², the mean being over the tensor's weights.
  public static func hawqV2(trace: Double, weights: Int, squaredError: Double) -> Double {
    max(trace, 0) / Double(max(weights, 1)) * squaredError
  }

  /// Empirical Fisher quadratic ½ δᵀFδ with F = mean over samples of g gᵀ: ½ mean (gᵀδ)², from each sample's gᵀδ.
  public static func fisher(gradientDots: [Double]) -> Double {
    gradientDots.isEmpty ? 0 : 0.5 * gradientDots.reduce(0) { $0 + $1 * $1 } / Double(gradientDots.count)
  }
}
