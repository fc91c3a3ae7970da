/// Names that are taken in a model, so that what is added to it clashes with nothing there.
///
/// Values and nodes have name spaces of their own. The names of branches and bodies count, because a graph sees those of
/// the graphs around it, and so do the names inside functions, because a call may be written as the function's nodes.
/// A name that is free is given as it was asked for; which one is given depends on the model and the requests before
/// alone.
public struct NameScope: Sendable {
  private var values = Names()
  private var nodes = Names()

  public init(_ model: Model) {
    add(model.graph)
    for function in model.functions {
      values.taken.formUnion(function.inputs)
      values.taken.formUnion(function.outputs)
      for node in function.nodes { add(node) }
    }
  }

  /// The names in the model and those that an edit brings.
  init(_ model: Model, _ edit: ModelEdit) { self.init(NameScope(model), edit) }

  /// What is taken, and the names that an edit brings.
  public init(_ taken: NameScope, _ edit: ModelEdit) {
    self = taken
    values.taken.formUnion(edit.initializers.map(\.name))
    for node in edit.leadingNodes { add(node) }
    for node in edit.replacedNodes.values.joined() { add(node) }
  }

  private mutating func add(_ graph: Graph) {
    values.taken.formUnion(graph.initializers.map(\.name))
    values.taken.formUnion(graph.opaqueInitializers)
    values.taken.formUnion(graph.inputs.map(\.name))
    values.taken.formUnion(graph.outputs.map(\.name))
    for node in graph.nodes { add(node) }
  }

  private mutating func add(_ node: Node) {
    nodes.taken.insert(node.name)
    values.taken.formUnion(node.inputs)
    values.taken.formUnion(node.outputs)
    for graph in node.subgraphs { add(graph) }
  }

  /// A name for a value that no value has: the one asked for, or that one with `_` behind it as often as needed; a number
  /// behind those where that would be often.
  public func freeValue(_ name: String) -> String { values.free(name).name }

  /// The name that `freeValue` gives, taken: nobody else gets it.
  public mutating func takeValue(_ name: String) -> String { values.take(name) }

  /// A name for a node that no node has.
  mutating func takeNode(_ name: String) -> String { nodes.take(name) }

  private struct Names {
    var taken: Set<String> = []
    /// By the name asked for, the number to go on from.
    private var numbers: [String: Int] = [:]
    private static let mostUnderscores = 8

    func free(_ name: String) -> (name: String, number: Int?) {
      var free = name
      for _ in 0..<Names.mostUnderscores {
        if !taken.contains(free) { return (free, nil) }
        free += "_"
      }
      var number = numbers[name] ?? 0
      while taken.contains("\(free)\(number)") { number += 1 }
      return ("\(free)\(number)", number)
    }

    mutating func take(_ name: String) -> String {
      let (free, number) = free(name)
      taken.insert(free)
      if let number { numbers[name] = number + 1 }
      return free
    }
  }
}
