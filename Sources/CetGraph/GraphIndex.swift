import CetTensor

/// All nodes of a model in one list, those of branches and loop bodies behind the node that holds them, with who makes
/// and who reads each value. A name that is made in more than one place has no maker: which one is meant depends on
/// where one looks from.
public struct GraphIndex: Sendable {
  public private(set) var nodes: [Node] = []
  /// The node in whose branch or body each node stands, by index into `nodes`; nil for those of the main graph.
  public private(set) var holders: [Int?] = []
  /// Nodes of loop bodies, which run once a turn, by index into `nodes`.
  public private(set) var repeatedNodes: Set<Int> = []
  /// Readers of each value, by index into `nodes`.
  public private(set) var readers: [String: [Int]] = [:]
  public private(set) var makers: [String: Int] = [:]
  /// Constants by name: initializers and tensors of Constant nodes.
  public private(set) var constants: [String: Tensor] = [:]
  /// Constants that stand elsewhere than among the main graph's initializers.
  public private(set) var inner: Set<String> = []
  /// Those of `inner` that Constant nodes hold.
  public private(set) var constantNodes: Set<String> = []
  /// Outputs of the model, of branches and of bodies.
  public private(set) var outputs: Set<String> = []

  /// Nodes whose values depend on what the model is fed, or are drawn anew in every run, by index into `nodes`. All
  /// others are constant.
  public private(set) var fedNodes: Set<Int> = []

  private var made: [String: Int] = [:]
  /// Values that such nodes make, and the inputs.
  public private(set) var fed: Set<String> = []

  /// An initializer of the main graph.
  public func initializer(_ name: String) -> Tensor? { inner.contains(name) ? nil : constants[name] }

  public init(_ model: Model) {
    visit(model.graph, holder: nil, isRepeated: false, isFed: true)
    for (name, count) in made where count > 1 {
      makers[name] = nil
      constants[name] = nil
      inner.remove(name)
      constantNodes.remove(name)
    }
  }

  private mutating func visit(_ graph: Graph, holder: Int?, isRepeated: Bool, isFed: Bool) {
    for initializer in graph.initializers { constant(initializer.name, initializer.tensor, isInner: holder != nil) }
    // Before IR 4 the initializers are among the inputs; they are made once.
    let held = Set(graph.initializers.map(\.name) + graph.opaqueInitializers)
    for input in graph.inputs where !held.contains(input.name) {
      made[input.name, default: 0] += 1
      if isFed { fed.insert(input.name) }
    }
    outputs.formUnion(graph.outputs.map(\.name))
    for node in graph.nodes {
      let index = nodes.count
      nodes.append(node)
      holders.append(holder)
      if isRepeated { repeatedNodes.insert(index) }
      let feeds = dependsOnInputs(node)
      if feeds {
        fedNodes.insert(index)
        fed.formUnion(node.outputs.filter { !$0.isEmpty })
      }
      for name in node.inputs where !name.isEmpty { readers[name, default: []].append(index) }
      if node.operatorType == "Constant", node.domain.isEmpty, let name = node.outputs.first, !name.isEmpty,
        case .tensor(let value) = node.attributes["value"]
      {
        constant(name, value.tensor, isInner: true)
        constantNodes.insert(name)
      } else {
        for name in node.outputs where !name.isEmpty {
          made[name, default: 0] += 1
          makers[name] = index
        }
      }
      let repeats = node.domain.isEmpty && ["Loop", "Scan"].contains(node.operatorType)
      for graph in node.subgraphs { visit(graph, holder: index, isRepeated: isRepeated || repeats, isFed: feeds) }
    }
  }

  private static let random: Set = [
    "Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike",
  ]

  /// Branches and bodies see the values around them.
  private func dependsOnInputs(_ node: Node) -> Bool {
    node.inputs.contains(where: fed.contains) || GraphIndex.random.contains(node.operatorType)
      || node.subgraphs.contains { graph in graph.nodes.contains(where: dependsOnInputs) || graph.outputs.contains { fed.contains($0.name) } }
  }

  private mutating func constant(_ name: String, _ tensor: Tensor, isInner: Bool) {
    made[name, default: 0] += 1
    constants[name] = tensor
    if isInner { inner.insert(name) }
  }
}
