import CetQuantize

/// How hard codes are searched for.
public struct RoundingEffort: Sendable {
  public enum Purpose: Sendable {
    /// Many versions of a layer are compared.
    case comparison
    /// The codes are written.
    case result
  }

  /// What a caller asks for. The words are the same in C, JSON, Python and on the command line, where their order is this one.
  public enum Level: String, Sendable, CaseIterable {
    case low
    case medium
    case high
  }

  public var purpose: Purpose
  public var level: Level

  public init(_ purpose: Purpose, _ level: Level = .medium) {
    self.purpose = purpose
    self.level = level
  }

  /// Random moves of a whole tensor, in weights times moves; 512 a row suffice.
  private static let work = 1 << 25

  /// Paths that are kept alive for a tensor: twice as many take twice the time, which small tensors have.
  func trellisOptions(_ weights: WeightMatrix) -> TrellisOptions {
    let (least, work) =
      switch level {
      case .low: (8, 1 << 20)
      case .medium: (32, 1 << 23)
      case .high: (128, 1 << 25)
      }
    let affordable = work / max(1, weights.rows * weights.columns)
    switch purpose {
    case .comparison:
      let paths = min(32, max(least / 4, affordable / 4, 4))
      let starts = TrellisOptions().starts
      return TrellisOptions(paths: paths, fewPaths: min(paths, 8), starts: paths < 32 ? [starts[1]] : starts, rounds: 1)
    case .result:
      let paths = min(128, max(least, affordable))
      return TrellisOptions(paths: paths, fewPaths: min(paths, paths > least ? 16 : 8))
    }
  }

  func options(_ weights: WeightMatrix) -> RoundingOptions {
    switch purpose {
    case .comparison: RoundingOptions()
    case .result: RoundingOptions(kicks: min(512, RoundingEffort.work / max(1, weights.rows * weights.columns)))
    }
  }
}
