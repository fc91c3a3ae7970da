extension Attribute {
  fileprivate var holdsGraphs: Bool {
    switch self {
    case .graph: true
    case .graphs(let graphs): !graphs.isEmpty
    default: false
    }
  }

  fileprivate var graphs: [Graph] {
    switch self {
    case .graph(let graph): [graph]
    case .graphs(let graphs): graphs
    default: []
    }
  }
}

extension Node {
  /// The graphs among the attributes: branches and loop bodies, in the order of the attributes' names.
  public var subgraphs: [Graph] {
    let names = graphAttributes
    return names.isEmpty ? [] : names.flatMap { attributes[$0]?.graphs ?? [] }
  }

  /// The node with its branches and bodies changed, one after the other in the order of `subgraphs`.
  public func mapGraphs<Failure>(_ change: (inout Graph) throws(Failure) -> Void) throws(Failure) -> Node {
    var node = self
    for name in graphAttributes {
      switch attributes[name] {
      case .graph(var graph):
        try change(&graph)
        node.attributes[name] = .graph(graph)
      case .graphs(var graphs):
        for index in graphs.indices { try change(&graphs[index]) }
        node.attributes[name] = .graphs(graphs)
      default: break
      }
    }
    return node
  }

  /// Names of all values that branches and bodies read or give out: those that they take from around them, and their own.
  public var innerReads: Set<String> {
    let graphs = subgraphs
    return graphs.isEmpty ? [] : graphs.reduce(into: []) { names, graph in
      names.formUnion(graph.outputs.map(\.name))
      for node in graph.nodes {
        names.formUnion(node.inputs)
        names.formUnion(node.innerReads)
      }
    }
  }

  /// Most nodes have none, and every survey of a model asks all of them.
  private var graphAttributes: [String] {
    guard attributes.contains(where: { $0.value.holdsGraphs }) else { return [] }
    return attributes.compactMap { $0.value.holdsGraphs ? $0.key : nil }.sorted()
  }
}

extension Sequence<Node> {
  /// The nodes and those of their branches and bodies, each in front of the ones that it holds.
  public var flattened: [Node] {
    var nodes: [Node] = []
    func add(_ some: some Sequence<Node>) {
      for node in some {
        nodes.append(node)
        for graph in node.subgraphs { add(graph.nodes) }
      }
    }
    add(self)
    return nodes
  }
}
