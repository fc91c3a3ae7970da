/// How far a covariance of few patches is drawn towards a multiple of the identity. Its small eigenvalues are smaller than those of all
/// patches that could be seen, and rounding would put its errors where only these samples do not show them.
public enum Shrinkage {
  /// Beyond, rounding is to nearest in all but name.
  private static let most = 0.9

  /// λ over the mean variance for which C + λI is, but for its scale, the oracle approximating shrinkage of C (Chen, Wiesel, Eldar, Hero:
  /// Shrinkage algorithms for MMSE covariance estimation, 2010, Eq. 23): of K columns and n patches
  ///   ρ = ((1 − 2/K) tr C² + tr² C) / ((n + 1 − 2/K)(tr C² − tr² C / K)),   λ = ρ / (1 − ρ).
  /// Some r n⁻¹ where the variance lies in r directions: it matters where patches are few beside these.
  /// - Parameter covariance: K × K. Patches count as independent.
  public static func damping(_ covariance: [Double], columns: Int, patches: Int) -> Double {
    guard columns > 1 else { return 0 }
    var (trace, squares) = (0.0, 0.0)
    for i in 0..<columns { trace += covariance[i * columns + i] }
    for value in covariance { squares += value * value }
    let k = Double(columns)
    let spread = squares - trace * trace / k
    let intensity = ((1 - 2 / k) * squares + trace * trace) / ((Double(patches) + 1 - 2 / k) * spread)
    guard trace > 0, trace.isFinite, squares.isFinite else { return 0 }
    // Without spread the covariance is that multiple already.
    let share = spread > 0 ? min(intensity, most) : most
    return share / (1 - share)
  }
}
