import CetGraph
import CetTensor

/// Turns a graph into primitives for inputs of given shapes.
public final class Scope {
  public let model: Model
  public let e: Emitter
  private var values: [String: Value]
  /// The graph around this one, whose values it sees.
  private let outer: Scope?
  /// Values inside the branches and bodies that were lowered.
  private let inner: InnerValues
  /// Grids, by the values of the graph itself that are rounded to them.
  private var grids: [String: Value] = [:]
  private var probes: [String: [(grid: Value, part: Value)]] = [:]
  /// Inputs of a function that its caller left out.
  private var omitted: Set<String> = []
  private let depth: Int
  /// Functions and subgraphs nest no deeper than this.
  private static let depthLimit = Model.callDepthLimit

  public init(model: Model, emitter: Emitter, values: [String: Value] = [:]) {
    self.model = model
    e = emitter
    self.values = values
    outer = nil
    inner = InnerValues()
    depth = 0
  }

  private init(_ model: Model, _ emitter: Emitter, outer: Scope?, inner: InnerValues, depth: Int) {
    self.model = model
    e = emitter
    values = [:]
    self.outer = outer
    self.inner = inner
    self.depth = depth
  }

  /// A scope for a subgraph: it sees the values of this one.
  public func child() throws(CetError) -> Scope {
    guard depth < Scope.depthLimit else { throw CetError(.invalidModel, "graphs nest deeper than \(Scope.depthLimit)") }
    let scope = Scope(model, e, outer: self, inner: inner, depth: depth + 1)
    scope.omitted = omitted
    return scope
  }

  public func value(_ name: String) -> Value? { values[name] ?? outer?.value(name) }
  /// The values of this name inside branches and bodies that were lowered, one a turn of a loop.
  public func innerValues(_ name: String) -> [Value] { inner.values[name] ?? [] }
  /// Makes a value that no graph names known to statistics, as one more turn of `name`.
  public func observe(_ name: String, _ value: Value) { inner.values[name, default: []].append(value) }
  public func set(_ name: String, _ value: Value) {
    values[name] = value
    if depth > 0 { observe(name, value) }
  }
  /// Rounds a value of the graph to a grid before anything reads it (`RoundToGrid`); to be said before the value is made.
  public func round(_ name: String, to grid: Value) { grids[name] = grid }
  /// Moves a value of the graph by a part, a scalar, of what rounding it to a grid changes: x + t·(x̂ − x).
  public func probe(_ name: String, _ grid: Value, part: Value) { probes[name, default: []].append((grid, part)) }
  /// The value as it is read.
  public func read(_ name: String, _ value: Value) throws(CetError) -> Value {
    guard value.element == .float32 else { return value }
    var result = try grids[name].map { grid throws(CetError) in try e.emit(RoundToGrid(), value, grid) } ?? value
    for probe in probes[name] ?? [] {
      let change = try e.subtract(e.emit(RoundToGrid(), value, probe.grid), value)
      result = try e.add(result, e.multiply(probe.part, change))
    }
    return result
  }

  /// Lowers the nodes that `outputs` need and gives their values. Names already set (inputs, parameters) are
  /// used as they are; other initializers become constants.
  public func lower(_ graph: Graph, outputs: [String]) throws(CetError) -> [Value] {
    if depth > 0 { try e.visit(graph) }
    for initializer in graph.initializers where value(initializer.name) == nil {
      values[initializer.name] = e.constant(initializer.tensor)
    }
    for index in neededNodes(graph, outputs) {
      try lower(graph.nodes[index])
    }
    return try outputs.map { name throws(CetError) in
      guard let value = value(name) else {
        throw CetError(.invalidModel, "value '\(name)' is not produced by any node")
      }
      return value
    }
  }

  /// Nodes in their order, so that everything asked for at once comes in the order of the graph.
  private func neededNodes(_ graph: Graph, _ outputs: [String]) -> [Int] {
    var needed = Set(outputs)
    var kept: [Int] = []
    for index in graph.nodes.indices.reversed() {
      let node = graph.nodes[index]
      guard node.outputs.contains(where: { needed.contains($0) && value($0) == nil }) else { continue }
      kept.append(index)
      needed.formUnion(node.inputs)
      needed.formUnion(node.innerReads)
    }
    return kept.reversed()
  }

  /// Nodes that so many turns of a loop's body come to at the least, so that what is too much is refused before any is lowered:
  /// 0 where a turn may be the last one. A loop inside counts by its turns where they are known here, as one node elsewhere.
  func leastNodes(of body: Graph, turns: Int) -> Int {
    let made = Set(body.nodes.flatMap(\.outputs)).union(body.inputs.map(\.name))
    guard body.inputs.count > 1, let condition = body.outputs.first?.name else { return 0 }
    var source = condition
    func isOwn(_ node: Node, _ type: String) -> Bool {
      node.operatorType == type && node.domain.isEmpty && model.function(for: node) == nil
    }
    for node in body.nodes.reversed() where node.outputs.first == source && isOwn(node, "Identity") {
      source = node.inputs.first ?? ""
    }
    guard source == body.inputs[1].name else { return 0 }
    let counts = neededNodes(body, body.outputs.map(\.name)).map { place in
      let node = body.nodes[place]
      guard isOwn(node, "Loop"), case .graph(let inside)? = node.attributes["body"],
        node.inputs.count > 1, node.inputs[1].isEmpty, !made.contains(node.inputs[0]),
        let known = value(node.inputs[0]).flatMap({ e.known($0) }), let turns = try? known.array(as: Int64.self).first
      else { return 1 }
      return Int.saturatingSum(1, leastNodes(of: inside, turns: Int(max(0, turns))))
    }
    return .saturatingProduct(turns, counts.reduce(0) { Int.saturatingSum($0, $1) })
  }

  private func lower(_ node: Node) throws(CetError) {
    let place = CetError.Place.node(node.displayName, "(\(node.operatorType))")
    let inputs: [Value?] = try node.inputs.map { name throws(CetError) in
      if name.isEmpty || omitted.contains(name) { return nil }
      guard let value = value(name) else {
        if model.graph.opaqueInitializers.contains(name) {
          throw CetError(.unsupportedOperator, "initializer '\(name)' is of a type or size that is not read")
            .at(place).with(.initializer, name)
        }
        throw CetError(.invalidModel, "input '\(name)' is not known here").at(place).with(.input, name)
      }
      return value
    }
    let before = e.origin
    e.origin = node.displayName
    defer { e.origin = before }
    let outputs: [Value]
    do {
      try e.countNode()
      if let function = model.function(for: node) {
        outputs = try inlined(function, node, inputs)
      } else {
        if let obstacle = OperatorRegistry.obstacle(to: node, opsets: model.opsets) {
          throw CetError(.unsupportedOperator, "\(obstacle)").at(.node(node.displayName))
        }
        guard let entry = OperatorRegistry.entry(domain: node.domain, type: node.operatorType) else { return }
        let call = OperatorCall(
          node: node, opset: model.opsets[node.domain] ?? model.opset, inputs: inputs, e: e, scope: self)
        outputs = try entry.lower(call)
      }
    } catch {
      throw CetError(error).at(place)
    }
    for (name, value) in zip(node.outputs, outputs) where !name.isEmpty {
      set(name, try read(name, value))
    }
  }

  /// A model-local function: its nodes in a scope of their own, with the caller's attributes.
  private func inlined(_ function: Function, _ node: Node, _ inputs: [Value?]) throws(CetError) -> [Value] {
    guard depth < Scope.depthLimit else {
      throw CetError(.invalidModel, "functions nest deeper than \(Scope.depthLimit)")
    }
    var inner = model
    inner.opsets = model.opsets.merging(function.opsets) { $1 }
    try e.visit(Graph(nodes: function.nodes))
    let scope = Scope(inner, e, outer: nil, inner: InnerValues(), depth: depth + 1)
    for (index, name) in function.inputs.enumerated() {
      if index < inputs.count, let value = inputs[index] { scope.set(name, value) } else { scope.omitted.insert(name) }
    }
    let attributes = function.attributeDefaults.merging(node.attributes) { $1 }
    let graph = Graph(nodes: function.nodes.map { $0.resolved(attributes) })
    let wanted = zip(function.outputs, node.outputs).filter { !$1.isEmpty }.map(\.0)
    _ = try scope.lower(graph, outputs: wanted)
    // Outputs that nobody reads keep their place in the list.
    let any = wanted.first.flatMap { scope.value($0) }
    return function.outputs.prefix(node.outputs.count).compactMap { scope.value($0) ?? any }
  }
}

/// What one model's scopes share.
private final class InnerValues {
  var values: [String: [Value]] = [:]
}
