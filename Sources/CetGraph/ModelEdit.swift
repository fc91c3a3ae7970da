import CetTensor

/// What a rewrite changes in a model. The same edit applies to a `Model` in memory and to a file's bytes
/// (`ModelWriter`), where everything it does not name is copied through untouched.
///
/// Names reach into branches and loop bodies too; those that an edit uses are made in one place of the model only.
public struct ModelEdit: Sendable {
  /// Initializers to drop, by name (also dropped from the graph's inputs where old files list them).
  public var removedInitializers: Set<String> = []
  /// Initializers of the main graph whose contents change; appended when it has none of that name. One of the same
  /// name in a branch or body goes: what is inside reads the main graph's.
  public var initializers: [Initializer] = []
  /// Nodes to replace or (empty array) to drop, by the name of their first output.
  public var replacedNodes: [String: [Node]] = [:]
  /// Nodes to put in front of all others; they may read initializers only.
  public var leadingNodes: [Node] = []
  /// Lowest versions that the edit's own nodes and types need; the file's are raised only when lower. Leading nodes are
  /// of the raised operator set, replacements of the model's; `OpsetRaise` converts those and the model's own.
  public var minimumOpset: Int?
  public var minimumIRVersion: Int64?
  /// Operator sets of other domains that the edit's nodes are of, where the model imports none of the domain.
  public var domains: [String: Int] = [:]
  /// Functions to drop; nothing may call them any more.
  public var removedFunctions: Set<FunctionKey> = []
  /// Added to, or replaced in, the model's metadata_props.
  public var metadata: [(key: String, value: String)] = []

  public init() {}

  /// Whether it changes nothing in any model.
  public var isEmpty: Bool {
    removedInitializers.isEmpty && initializers.isEmpty && replacedNodes.isEmpty && leadingNodes.isEmpty
      && removedFunctions.isEmpty && metadata.isEmpty && minimumOpset == nil && minimumIRVersion == nil
  }

  /// The edited model in memory.
  public func applied(to model: Model) throws(CetError) -> Model {
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
    var nodes = applied(to: model.graph.nodes)
    result.functions.removeAll { removedFunctions.contains($0.key) }
    if let raise = OpsetRaise(model, for: self) {
      nodes = try raise.raised(nodes, from: model.opset)
      for index in result.functions.indices {
        guard let version = result.functions[index].opsets[""], version < raise.target else { continue }
        result.functions[index].nodes = try raise.raised(result.functions[index].nodes, from: version)
        result.functions[index].opsets[""] = raise.target
      }
    }
    result.graph.nodes = leadingNodes + nodes
    if let minimumOpset { result.opsets[""] = max(model.opset, minimumOpset) }
    result.opsets.merge(domains) { known, _ in known }
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

  /// Whether the edit names something in a branch or body, or in those within it.
  public func touches(_ graph: Graph) -> Bool {
    graph.initializers.contains { initializer in
      removedInitializers.contains(initializer.name) || initializers.contains { $0.name == initializer.name }
    } || graph.nodes.contains { replacedNodes[$0.firstOutput] != nil || $0.subgraphs.contains(where: touches) }
  }

  /// The nodes with replacements and without what goes from their branches and bodies.
  public func applied(to nodes: [Node]) -> [Node] {
    self.nodes(nodes, dropping: removedInitializers.union(initializers.map(\.name)))
  }

  private func nodes(_ nodes: [Node], dropping: Set<String>) -> [Node] {
    guard !replacedNodes.isEmpty || !dropping.isEmpty else { return nodes }
    func edited(_ node: Node) -> Node {
      node.mapGraphs { graph in
        graph.initializers.removeAll { dropping.contains($0.name) }
        graph.nodes = self.nodes(graph.nodes, dropping: dropping)
      }
    }
    var result: [Node] = []
    result.reserveCapacity(nodes.count)
    for node in nodes {
      if let replacements = replacedNodes[node.firstOutput] {
        result += replacements.map(edited)
      } else {
        result.append(edited(node))
      }
    }
    return result
  }
}
