/// What a call names a function by.
public struct FunctionKey: Hashable, Sendable {
  public var domain: String
  public var name: String
  public var overload: String

  public init(domain: String, name: String, overload: String) {
    self.domain = domain
    self.name = name
    self.overload = overload
  }
}

extension Function {
  public var key: FunctionKey { FunctionKey(domain: domain, name: name, overload: overload) }
}

extension Node {
  /// The function that the node calls, if the model has it.
  public var functionKey: FunctionKey { FunctionKey(domain: domain, name: operatorType, overload: overload) }

  /// The node with references to attributes of its function replaced; without those that the caller omits.
  public func resolved(_ given: [String: Attribute]) -> Node {
    var node = self
    for (name, attribute) in attributes {
      switch attribute {
      case .reference(let source): node.attributes[name] = given[source]
      case .graph(let graph): node.attributes[name] = .graph(graph.resolved(given))
      case .graphs(let graphs): node.attributes[name] = .graphs(graphs.map { $0.resolved(given) })
      default: break
      }
    }
    return node
  }
}

extension Graph {
  fileprivate func resolved(_ given: [String: Attribute]) -> Graph {
    var graph = self
    graph.nodes = nodes.map { $0.resolved(given) }
    return graph
  }
}

extension Model {
  /// The model-local function that a node calls.
  public func function(for node: Node) -> Function? {
    let key = node.functionKey
    return functions.first { $0.key == key }
  }

  /// Functions that the graph calls, directly or through others.
  var calledFunctions: Set<FunctionKey> {
    var held: [FunctionKey: Function] = [:]
    for function in functions where held[function.key] == nil { held[function.key] = function }
    var called: Set<FunctionKey> = []
    var waiting = [graph.nodes]
    while let nodes = waiting.popLast() {
      for node in nodes {
        if let function = held[node.functionKey], called.insert(node.functionKey).inserted { waiting.append(function.nodes) }
        waiting += node.subgraphs.map(\.nodes)
      }
    }
    return called
  }
}
