extension Attribute {
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
  public var subgraphs: [Graph] { graphAttributes.flatMap { attributes[$0]?.graphs ?? [] } }

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
    subgraphs.reduce(into: []) { names, graph in
      names.formUnion(graph.outputs.map(\.name))
      for node in graph.nodes {
        names.formUnion(node.inputs)
        names.formUnion(node.innerReads)
      }
    }
  }

  private var graphAttributes: [String] { attributes.compactMap { $0.value.graphs.isEmpty ? nil : $0.key }.sorted() }
}

extension Sequence<Node> {
  /// The nodes and those of their branches and bodies, each in front of the ones that it holds.
  public var flattened: [Node] { flatMap { [$0] + $0.subgraphs.flatMap(\.nodes.flattened) } }
}
