import CetOperators
import CetTensor

/// The sources of a bound program by name.
struct NamedSources: Sendable {
  let inputs: [String: Value]
  /// Initializers that are fed instead of being folded.
  let parameters: [String: Value]

  func feeds(_ batch: Batch, _ weights: [String: Tensor]) -> [Int: Tensor] {
    var feeds = feeds(weights)
    for (name, value) in inputs { feeds[value.id] = batch.inputs[name] }
    return feeds
  }

  func feeds(_ weights: [String: Tensor]) -> [Int: Tensor] {
    var feeds: [Int: Tensor] = [:]
    for (name, tensor) in weights { if let value = parameters[name] { feeds[value.id] = tensor } }
    return feeds
  }
}
