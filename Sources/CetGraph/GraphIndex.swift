import CetTensor

/// All nodes of a graph in one list, those of branches and loop bodies behind the node that holds them, with who produces
/// and who reads each value. Nodes are named by their place in the list.
///
/// A name that is produced in more than one place has no producer and is no constant: which one is meant depends on where
/// one looks from.
public struct GraphIndex: Sendable {
  public private(set) var nodes: [Node] = []
  /// Constants that stand elsewhere than among the graph's own initializers: in Constant nodes, branches and bodies.
  public private(set) var inner: Set<String> = []
  /// Constants of `inner` that Constant nodes hold.
  public private(set) var constantNodes: Set<String> = []
  /// Names that are produced in more than one place.
  public private(set) var ambiguous: Set<String> = []
  /// Every constant by name: initializers and tensors of Constant nodes.
  public private(set) var constants: [String: Tensor] = [:]

  private var holders: [Int?] = []
  private var producers: [String: Int] = [:]
  private var readers: [String: [Int]] = [:]
  private var outputs: Set<String> = []
  private var produced: Set<String> = []
  private var fedNodes: Set<Int> = []
  private var fedValues: Set<String> = []

  public init(_ graph: Graph) {
    visit(graph, holder: nil, isFed: true)
    for name in ambiguous {
      producers[name] = nil
      constants[name] = nil
      inner.remove(name)
      constantNodes.remove(name)
    }
  }

  /// Of a function by itself: its values have a name space of their own.
  public init(_ function: Function) {
    func infos(_ names: [String]) -> [ValueInfo] { names.map { ValueInfo(name: $0, type: nil, shape: nil) } }
    self.init(Graph(nodes: function.nodes, inputs: infos(function.inputs), outputs: infos(function.outputs)))
  }

  // MARK: Values

  /// The node that makes a value; nil for inputs and constants.
  public func producer(of value: String) -> Int? { producers[value] }

  /// The nodes that have a value among their inputs, once for each place there.
  public func readers(of value: String) -> [Int] { readers[value] ?? [] }

  /// Whether something reads a value, or it is given out.
  public func isRead(_ value: String) -> Bool { readers[value] != nil || outputs.contains(value) }

  /// Whether a value is an output of the graph, or of a branch or body.
  public func isOutput(_ value: String) -> Bool { outputs.contains(value) }

  /// An initializer of the graph itself.
  public func initializer(_ name: String) -> Tensor? { inner.contains(name) ? nil : constants[name] }

  /// Whether a value depends on what the graph is fed.
  public func isFed(_ value: String) -> Bool { fedValues.contains(value) }

  // MARK: Nodes

  /// The node in whose branch or body a node stands; nil for a node of the graph itself.
  public func holder(of node: Int) -> Int? { holders[node] }

  /// Whether a node stands in the body of a loop, which runs once a turn.
  public func isRepeated(_ node: Int) -> Bool {
    var next = holders[node]
    while let holder = next {
      if nodes[holder].domain.isEmpty, ["Loop", "Scan"].contains(nodes[holder].operatorType) { return true }
      next = holders[holder]
    }
    return false
  }

  /// Whether what a node makes depends on what the graph is fed, or is drawn anew in every run. All other nodes are
  /// constant.
  public func isFed(_ node: Int) -> Bool { fedNodes.contains(node) }

  // MARK: The survey

  private mutating func visit(_ graph: Graph, holder: Int?, isFed: Bool) {
    for initializer in graph.initializers { addConstant(initializer.name, initializer.tensor, isInner: holder != nil) }
    for name in graph.opaqueInitializers { produce(name) }
    // Before IR 4 the initializers are among the inputs; they are made once.
    for input in graph.requiredInputs {
      produce(input.name)
      if isFed { fedValues.insert(input.name) }
    }
    outputs.formUnion(graph.outputs.map(\.name))
    for node in graph.nodes { visit(node, holder: holder) }
  }

  private mutating func visit(_ node: Node, holder: Int?) {
    let index = nodes.count
    nodes.append(node)
    holders.append(holder)
    let isFed = dependsOnInputs(node)
    if isFed {
      fedNodes.insert(index)
      fedValues.formUnion(node.outputs.filter { !$0.isEmpty })
    }
    for name in node.inputs where !name.isEmpty { readers[name, default: []].append(index) }
    if node.operatorType == "Constant", node.domain.isEmpty, let name = node.outputs.first, !name.isEmpty,
      case .tensor(let value) = node.attributes["value"]
    {
      addConstant(name, value.tensor, isInner: true)
      constantNodes.insert(name)
    } else {
      for name in node.outputs where !name.isEmpty {
        produce(name)
        producers[name] = index
      }
    }
    for graph in node.subgraphs { visit(graph, holder: index, isFed: isFed) }
  }

  private mutating func produce(_ name: String) { if !produced.insert(name).inserted { ambiguous.insert(name) } }

  private mutating func addConstant(_ name: String, _ tensor: Tensor, isInner: Bool) {
    produce(name)
    constants[name] = tensor
    if isInner { inner.insert(name) }
  }

  private static let random: Set = [
    "Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike",
  ]

  /// Branches and bodies see the values around them.
  private func dependsOnInputs(_ node: Node) -> Bool {
    node.inputs.contains(where: fedValues.contains) || !fedValues.isDisjoint(with: node.innerReads)
      || GraphIndex.isRandom(node)
  }

  private static func isRandom(_ node: Node) -> Bool {
    random.contains(node.operatorType) || node.subgraphs.contains { $0.nodes.contains(where: isRandom) }
  }
}
