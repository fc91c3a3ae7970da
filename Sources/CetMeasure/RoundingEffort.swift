import CetQuantize

/// How hard codes are searched for.
public enum RoundingEffort: Sendable {
  /// Where many versions of a layer are compared.
  case usual
  /// For the codes that are written.
  case thorough

  /// Random moves of a whole tensor, in weights times moves; 512 a row suffice.
  private static let work = 1 << 25

  func options(_ weights: WeightMatrix) -> RoundingOptions {
    switch self {
    case .usual: RoundingOptions()
    case .thorough: RoundingOptions(kicks: min(512, RoundingEffort.work / max(1, weights.rows * weights.columns)))
    }
  }
}
