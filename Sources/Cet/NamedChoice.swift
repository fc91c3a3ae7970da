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
  /// One choice per tensor. Keep wins over fix, the last of several fix patterns over the others.
  public func choices(for tensors: [TensorNames]) throws(CetError) -> [NamedChoice] {
    var result = [NamedChoice](repeating: .free, count: tensors.count)
    for rule in fix {
      for index in try TensorPattern(rule.pattern).indices(in: tensors, use: "fix") {
        result[index] = .fixed(bits: rule.bits, pattern: rule.pattern)
      }
    }
    for pattern in keep {
      for index in try TensorPattern(pattern).indices(in: tensors, use: "keep") { result[index] = .kept(pattern: pattern) }
    }
    return result
  }

  /// One range of bits per tensor: of several rules the strictest holds.
  public func limits(for tensors: [TensorNames]) throws(CetError) -> [BitLimits] {
    var result = [BitLimits](repeating: BitLimits(), count: tensors.count)
    for rule in minBits {
      for index in try TensorPattern(rule.pattern).indices(in: tensors, use: "min_bits") where rule.bits > result[index].least?.bits ?? 0 {
        result[index].least = rule
      }
    }
    for rule in maxBits {
      for index in try TensorPattern(rule.pattern).indices(in: tensors, use: "max_bits")
      where rule.bits < result[index].most?.bits ?? .max {
        result[index].most = rule
      }
    }
    return result
  }
}

/// The fewest and the most bits that rules allow a tensor.
public struct BitLimits: Sendable, Equatable {
  public var least: PlanOptions.BitRule?
  public var most: PlanOptions.BitRule?

  public init(least: PlanOptions.BitRule? = nil, most: PlanOptions.BitRule? = nil) {
    self.least = least
    self.most = most
  }

  /// The widths that the rules leave of those that tensor `name` could have.
  public func widths(of widths: [Int], name: String) throws(CetError) -> [Int] {
    let left = widths.filter { $0 >= least?.bits ?? 0 && $0 <= most?.bits ?? .max }
    guard left.isEmpty, !widths.isEmpty else { return left }
    let rules = [least.map { "min_bits '\($0.pattern)'=\($0.bits)" }, most.map { "max_bits '\($0.pattern)'=\($0.bits)" }]
    let list = widths.map(String.init).joined(separator: ", ")
    throw CetError(
      .invalidArgument, "\(rules.compactMap { $0 }.joined(separator: " and ")): '\(name)' could have \(list) bits, none of which are left")
  }
}
