import CetTensor

/// Variances of the outputs of an unquantized network's layers, by layer index, one a channel: of the same batches they are the same
/// whatever the plan is.
public final class OutputVariances: @unchecked Sendable {
  private let lock = Lock()
  private var known: [Int: [Double]] = [:]

  public init() {}

  subscript(_ layer: Int) -> [Double]? { lock.withLock { known[layer] } }

  /// Variances of outputs, made when first asked for.
  func value(_ layer: Int, _ make: () throws(CetError) -> [Double]) throws(CetError) -> [Double] {
    if let known = self[layer] { return known }
    let made = try make()
    lock.withLock { known[layer] = made }
    return made
  }
}
