import CetTensor

/// What a rewrite changes in a model. The same edit applies to a `Model` in memory and to a file's bytes
/// (`ModelWriter`), where everything it does not name is copied through untouched.
public struct ModelEdit: Sendable {
  /// Initializers of the main graph to drop, by name (also dropped from the graph's inputs where old files
  /// list them).
  public var removedInitializers: Set<String> = []
  /// Initializers whose contents change; appended when the graph has none of that name.
  public var initializers: [Initializer] = []
  /// Nodes of the main graph to replace or (empty array) to drop, by index.
  public var replacedNodes: [Int: [Node]] = [:]
  /// Nodes to put in front of all others; they may read initializers only.
  public var leadingNodes: [Node] = []
  /// Lowest versions that the edit's own nodes and types need; the file's are raised only when lower.
  public var minimumOpset: Int?
  public var minimumIRVersion: Int64?
  /// Added to, or replaced in, the model's metadata_props.
  public var metadata: [(key: String, value: String)] = []

  public init() {}

  /// The edited model in memory.
  public func applied(to model: Model) -> Model {
    var result = model
    let replaced = Dictionary(initializers.map { ($0.name, $0) }, uniquingKeysWith: { $1 })
    var kept: [Initializer] = []
    var placed: Set<String> = []
    for initializer in model.graph.initializers {
      if let new = replaced[initializer.name] {
        kept.append(new)
        placed.insert(new.name)
      } else if !removedInitializers.contains(initializer.name) {
        kept.append(initializer)
      }
    }
    kept += initializers.filter { !placed.contains($0.name) }
    result.graph.initializers = kept
    result.graph.opaqueInitializers.removeAll { removedInitializers.contains($0) || replaced[$0] != nil }
    result.graph.inputs = model.graph.inputs.compactMap { input in
      if let new = replaced[input.name] { return input.describes(new.tensor) ? input : ValueInfo(of: new) }
      return removedInitializers.contains(input.name) ? nil : input
    }
    result.graph.nodes =
      leadingNodes
      + model.graph.nodes.enumerated().flatMap { index, node in replacedNodes[index] ?? [node] }
    if let minimumOpset { result.opsets[""] = max(model.opset, minimumOpset) }
    if let minimumIRVersion { result.irVersion = max(model.irVersion, minimumIRVersion) }
    if result.irVersion < 4 {
      // Before IR 4 every initializer is an input as well.
      let listed = Set(result.graph.inputs.map(\.name))
      result.graph.inputs += initializers.filter { !listed.contains($0.name) }.map { ValueInfo(of: $0) }
    }
    for entry in metadata {
      if let index = result.metadata.firstIndex(where: { $0.key == entry.key }) {
        result.metadata[index] = entry
      } else {
        result.metadata.append(entry)
      }
    }
    return result
  }
}
