import CetTensor

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
    var node = mapGraphs { $0.nodes = $0.nodes.map { $0.resolved(given) } }
    for (name, attribute) in attributes { if case .reference(let source) = attribute { node.attributes[name] = given[source] } }
    return node
  }
}

extension Model {
  /// More nodes than this are not written out in place of calls: functions that call others twice grow without end.
  public static let unfoldedNodeLimit = 1 << 18

  /// The same for all calls of a model together, which read only a part of them.
  static let unfoldedTotalLimit = 1 << 21

  /// Functions call each other no deeper than this: one that calls itself must not end the process.
  public static let callDepthLimit = 64

  /// Throws where a node with all that it calls has too many nodes, or calls itself, before anything is unfolded.
  public func checkUnfolding() throws(CetError) {
    guard !functions.isEmpty else { return }
    var held: [FunctionKey: Function] = [:]
    for function in functions where held[function.key] == nil { held[function.key] = function }
    // Nodes that a call becomes; nil while they are counted, which is when a function calls itself.
    var counts: [FunctionKey: Int?] = [:]
    // The largest number stands for no end, and passes on; what is finite is cut far above the limit.
    func plus(_ a: Int, _ b: Int) -> Int { max(a, b) == .max ? .max : min(a + b, 1 << 40) }
    func count(_ nodes: [Node], _ depth: Int) -> Int {
      nodes.reduce(0) { sum, node in
        plus(plus(sum, count(node, depth)), node.subgraphs.reduce(0) { plus($0, count($1.nodes, depth)) })
      }
    }
    func count(_ node: Node, _ depth: Int) -> Int {
      guard let function = held[node.functionKey] else { return 1 }
      if let known = counts[function.key] { return known ?? .max }
      guard depth < Model.callDepthLimit else { return .max }
      counts[function.key] = .some(nil)
      let result = count(function.nodes, depth + 1)
      counts[function.key] = .some(result)
      return result
    }
    var total = 0
    for node in graph.nodes.flattened where held[node.functionKey] != nil {
      let size = count(node, 0)
      guard size < .max else {
        throw CetError(.invalidModel, "functions nest deeper than \(Model.callDepthLimit), or without end").at(.node(node.displayName))
      }
      guard size <= Model.unfoldedNodeLimit else {
        throw CetError(
          .unsupportedOperator,
          "function \(node.operatorType) unfolds into \(size == 1 << 40 ? "more than \(size)" : "\(size)") nodes, expected at most \(Model.unfoldedNodeLimit)"
        ).at(.node(node.displayName))
      }
      total += size
      guard total <= Model.unfoldedTotalLimit else {
        throw CetError(
          .unsupportedOperator,
          "node '\(node.displayName)': all calls of functions unfold into more than \(Model.unfoldedTotalLimit) nodes")
      }
    }
  }

  /// Functions that the graph calls, directly or through others.
  var calledFunctions: Set<FunctionKey> {
    var held: [FunctionKey: Function] = [:]
    for function in functions where held[function.key] == nil { held[function.key] = function }
    var called: Set<FunctionKey> = []
    var waiting = [graph.nodes]
    while let nodes = waiting.popLast() {
      for node in nodes.flattened {
        if let function = held[node.functionKey], called.insert(node.functionKey).inserted { waiting.append(function.nodes) }
      }
    }
    return called
  }
}
