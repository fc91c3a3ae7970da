/// Names that are taken in a model, so that what is added to it clashes with nothing there.
///
/// Values and nodes have name spaces of their own. The names of branches and bodies count, because a graph sees those of
/// the graphs around it, and so do the names inside functions, because a call may be written as the function's nodes.
/// A name that is free is given as it was asked for; which one is given depends on the model and the requests before
/// alone.
public struct NameScope: Sendable {
  private var values: Set<String> = []
  private var nodes: Set<String> = []

  public init(_ model: Model) {
    add(model.graph)
    for function in model.functions {
      values.formUnion(function.inputs)
      values.formUnion(function.outputs)
      for node in function.nodes { add(node) }
    }
  }

  /// The names in the model and those that an edit brings.
  init(_ model: Model, _ edit: ModelEdit) {
    self.init(model)
    values.formUnion(edit.initializers.map(\.name))
    for node in edit.leadingNodes { add(node) }
    for node in edit.replacedNodes.values.joined() { add(node) }
  }

  private mutating func add(_ graph: Graph) {
    values.formUnion(graph.initializers.map(\.name))
    values.formUnion(graph.opaqueInitializers)
    values.formUnion(graph.inputs.map(\.name))
    values.formUnion(graph.outputs.map(\.name))
    for node in graph.nodes { add(node) }
  }

  private mutating func add(_ node: Node) {
    nodes.insert(node.name)
    values.formUnion(node.inputs)
    values.formUnion(node.outputs)
    for graph in node.subgraphs { add(graph) }
  }

  /// A name for a value that no value has: the one asked for, or that one with `_` behind it as often as needed.
  public func freeValue(_ name: String) -> String { NameScope.free(name, values) }

  /// The name that `freeValue` gives, taken: nobody else gets it.
  public mutating func takeValue(_ name: String) -> String {
    let name = freeValue(name)
    values.insert(name)
    return name
  }

  /// A name for a node that no node has.
  mutating func takeNode(_ name: String) -> String {
    let name = NameScope.free(name, nodes)
    nodes.insert(name)
    return name
  }

  private static func free(_ name: String, _ taken: Set<String>) -> String {
    var name = name
    while taken.contains(name) { name += "_" }
    return name
  }
}
