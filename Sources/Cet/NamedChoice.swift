import CetFormats
import CetTensor

/// What keep and fix patterns say about each tensor.
public enum NamedChoice: Sendable, Equatable {
  case free
  /// Stays float32.
  case kept(pattern: String)
  case fixed(bits: Int, pattern: String)
  /// Stays as it is because the loss does not depend on it.
  case unreached
  /// Stays as it is because no grid has its values, for this reason.
  case unusable(String)
}

extension PlanOptions {
  /// One choice per name. Keep wins over fix, the last of several fix patterns over the others.
  public func choices(for names: [String]) throws(CetError) -> [NamedChoice] {
    var result = [NamedChoice](repeating: .free, count: names.count)
    for rule in fix {
      for index in try NamePattern(rule.pattern).indices(in: names, use: "fix") {
        result[index] = .fixed(bits: rule.bits, pattern: rule.pattern)
      }
    }
    for pattern in keep {
      for index in try NamePattern(pattern).indices(in: names, use: "keep") { result[index] = .kept(pattern: pattern) }
    }
    return result
  }
}
