import CetGraph
import CetTensor

/// Turns a graph into primitives for inputs of given shapes.
public final class Scope {
  public let model: Model
  public let e: Emitter
  private var values: [String: Value]

  public init(model: Model, emitter: Emitter, values: [String: Value] = [:]) {
    self.model = model
    e = emitter
    self.values = values
  }

  public func value(_ name: String) -> Value? { values[name] }
  public func set(_ name: String, _ value: Value) { values[name] = value }

  /// Lowers the nodes that `outputs` need and gives their values. Names already set (inputs, parameters) are
  /// used as they are; other initializers become constants.
  public func lower(_ graph: Graph, outputs: [String]) throws -> [Value] {
    for initializer in graph.initializers where values[initializer.name] == nil {
      values[initializer.name] = e.constant(initializer.tensor)
    }
    for index in neededNodes(graph, outputs) {
      try lower(graph.nodes[index])
    }
    return try outputs.map { name in
      guard let value = values[name] else {
        throw CetError(.invalidModel, "value '\(name)' is not produced by any node")
      }
      return value
    }
  }

  private func neededNodes(_ graph: Graph, _ outputs: [String]) -> [Int] {
    var needed = Set(outputs)
    var kept: [Int] = []
    for index in graph.nodes.indices.reversed() {
      let node = graph.nodes[index]
      guard node.outputs.contains(where: { needed.contains($0) && values[$0] == nil }) else { continue }
      kept.append(index)
      needed.formUnion(node.inputs)
      needed.formUnion(Scope.outerNames(of: node))
    }
    return kept.reversed()
  }

  /// Names that the node's subgraphs take from outside.
  private static func outerNames(of node: Node) -> Set<String> {
    var names: Set<String> = []
    for attribute in node.attributes.values {
      let graphs: [Graph] =
        switch attribute {
        case .graph(let graph): [graph]
        case .graphs(let graphs): graphs
        default: []
        }
      for graph in graphs {
        for inner in graph.nodes {
          names.formUnion(inner.inputs)
          names.formUnion(outerNames(of: inner))
        }
        names.formUnion(graph.outputs.map(\.name))
      }
    }
    return names
  }

  private func lower(_ node: Node) throws {
    let place = "node '\(node.displayName)' (\(node.operatorType))"
    if let obstacle = OperatorRegistry.obstacle(to: node, opsets: model.opsets) {
      throw CetError(.unsupportedOperator, "\(obstacle)").at("node '\(node.displayName)'")
    }
    guard let entry = OperatorRegistry.entry(domain: node.domain, type: node.operatorType) else { return }
    let inputs: [Value?] = try node.inputs.map { name in
      if name.isEmpty { return nil }
      guard let value = values[name] else {
        throw CetError(.invalidModel, "\(place): input '\(name)' is not known here")
      }
      return value
    }
    let before = e.origin
    e.origin = node.displayName
    defer { e.origin = before }
    let call = OperatorCall(
      node: node, opset: model.opsets[node.domain] ?? model.opset, inputs: inputs, e: e, scope: self)
    let outputs: [Value]
    do {
      outputs = try entry.lower(call)
    } catch let error as CetError {
      throw error.at(place)
    }
    for (name, value) in zip(node.outputs, outputs) where !name.isEmpty { values[name] = value }
  }
}
