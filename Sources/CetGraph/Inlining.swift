import CetTensor

/// A model in which the nodes of model-local functions stand in place of the calls, and how to write single calls so.
///
/// A call stays where its body would not mean the same in the model: when the function imports other operator set
/// versions, when its inputs or outputs do not fit, and when the whole would have too many nodes.
public struct Inlining: Sendable {
  /// A call of the model's graph, or of a branch or body in it.
  struct Call: Sendable {
    /// The first output of the node that calls.
    let output: String
    /// What stands in its place.
    let nodes: [Node]
    /// Constants of the functions (`Inlining.constants`) that the nodes read.
    let constants: Set<String>
  }

  private let original: Model
  public let model: Model
  /// What is taken in both models.
  public let names: NameScope
  private let calls: [Call]
  /// Float tensors that functions hold in Constant nodes: one of each for all calls, initializers of `model`'s main graph.
  private let constants: [String: Tensor]

  public init(_ original: Model) {
    self.original = original
    var inliner = Inliner(original)
    var model = original
    model.graph.nodes = inliner.inlined(original.graph.nodes)
    model.graph.initializers += inliner.constants
    self.model = model
    calls = inliner.calls
    names = inliner.names
    constants = Dictionary(inliner.constants.map { ($0.name, $0.tensor) }, uniquingKeysWith: { first, _ in first })
  }

  /// An edit of `model` as one of the model with its functions: calls in whose nodes it changes something are written
  /// as those nodes, the others stay; functions that nothing calls any more go.
  public func outward(_ edit: ModelEdit) -> ModelEdit {
    let changed = edit.removedInitializers.union(edit.initializers.map(\.name))
    var result = edit
    var read: Set<String> = []
    var written: [String: [Node]] = [:]
    for call in calls {
      guard !call.constants.isDisjoint(with: changed) || edit.touches(Graph(nodes: call.nodes)) else { continue }
      for node in call.nodes.flattened { result.replacedNodes[node.firstOutput] = nil }
      written[call.output] = edit.applied(to: call.nodes)
      read.formUnion(call.constants)
    }
    guard !written.isEmpty else { return edit }
    result.replacedNodes.merge(written) { $1 }
    let given = Set(edit.initializers.map(\.name) + edit.leadingNodes.flatMap(\.outputs))
    for name in read.subtracting(given).sorted() {
      if let tensor = constants[name] { result.initializers.append(Initializer(name: name, tensor: tensor)) }
    }
    var after = original
    after.graph.nodes = result.applied(to: original.graph.nodes)
    result.removedFunctions.formUnion(original.calledFunctions.subtracting(after.calledFunctions))
    return result
  }
}
