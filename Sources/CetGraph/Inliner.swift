import CetTensor

/// Writes the nodes of functions in place of their calls, under names that are free in the model.
struct Inliner {
  private(set) var calls: [Inlining.Call] = []
  private(set) var constants: [Initializer] = []

  private let opsets: [String: Int]
  private var functions: [FunctionKey: Function] = [:]
  private(set) var names: NameScope
  /// Names that branches share: what is made there cannot be named from outside.
  private let ambiguous: Set<String>
  /// Nodes that a call becomes; nil where it must stay.
  private var sizes: [FunctionKey: Int?] = [:]
  private var room = Model.unfoldedNodeLimit
  /// Names of the constants of functions.
  private var constantNames: [FunctionKey: [String: String]] = [:]
  /// Names that were given in the function at hand, in their order: those of a branch or body go with it.
  private var given: [String] = []
  /// Constants that the call at hand reads.
  private var read: Set<String> = []

  init(_ model: Model) {
    opsets = model.opsets
    for function in model.functions where functions[function.key] == nil { functions[function.key] = function }
    names = NameScope(model)
    ambiguous = functions.isEmpty ? [] : GraphIndex(model.graph).ambiguous
  }

  /// The nodes of the model's graph, or of a branch or body in it, with the calls replaced.
  mutating func inlined(_ nodes: [Node]) -> [Node] {
    guard !functions.isEmpty else { return nodes }
    return nodes.flatMap { node -> [Node] in
      let output = node.firstOutput
      if let function = functions[node.functionKey], !output.isEmpty, !ambiguous.contains(output) {
        read = []
        guard let body = body(of: function, for: node) else { return [node] }
        calls.append(Inlining.Call(output: output, nodes: body, constants: read))
        return body
      }
      return [node.mapGraphs { $0.nodes = inlined($0.nodes) }]
    }
  }

  // MARK: What can be inlined

  private mutating func size(_ function: Function, depth: Int = 0) -> Int? {
    if let known = sizes[function.key] { return known }
    guard depth < Model.callDepthLimit else { return nil }
    // A function that calls itself stays a call.
    sizes[function.key] = .some(nil)
    let size = size(function.nodes, of: function, depth: depth)
    sizes[function.key] = .some(size)
    return size
  }

  private mutating func size(_ nodes: [Node], of function: Function, depth: Int) -> Int? {
    var total = 0
    for node in nodes {
      if let callee = functions[node.functionKey] {
        guard Inliner.fits(node, callee), let size = size(callee, depth: depth + 1) else { return nil }
        total += size
      } else {
        let version = opsets[node.domain]
        guard version != nil, function.opsets[node.domain] ?? version == version else { return nil }
      }
      // Room for Identity nodes as well.
      total += 1 + node.outputs.count
      for graph in node.subgraphs {
        guard let size = size(graph.nodes, of: function, depth: depth) else { return nil }
        total += size
      }
      guard total <= room else { return nil }
    }
    return total
  }

  private static func fits(_ call: Node, _ function: Function) -> Bool {
    call.inputs.count <= function.inputs.count && call.outputs.count <= function.outputs.count
  }

  // MARK: The body of one call

  private mutating func body(of function: Function, for call: Node) -> [Node]? {
    guard Inliner.fits(call, function), let size = size(function), size <= room else { return nil }
    room -= size
    return expanded(function, call)
  }

  private mutating func expanded(_ function: Function, _ call: Node) -> [Node] {
    hold(function)
    let outer = given
    given = []
    defer { given = outer }
    var names = constantNames[function.key] ?? [:]
    for (index, name) in function.inputs.enumerated() { names[name] = index < call.inputs.count ? call.inputs[index] : "" }
    var copies: [Node] = []
    for (inner, outer) in zip(function.outputs, call.outputs) where !outer.isEmpty {
      if let source = names[inner] {
        copies.append(Node("Identity", inputs: [source], outputs: [outer]))
        if constantNames[function.key]?[inner] != nil { read.insert(source) }
      } else {
        names[inner] = outer
      }
    }
    let attributes = function.attributeDefaults.merging(call.attributes) { $1 }
    let scope = Naming(key: function.key, prefix: call.firstOutput, caller: call.displayName, attributes: attributes)
    return renamed(function.nodes, scope, &names) + copies
  }

  private struct Naming {
    let key: FunctionKey
    let prefix: String
    let caller: String
    let attributes: [String: Attribute]
  }

  private mutating func renamed(_ nodes: [Node], _ scope: Naming, _ names: inout [String: String]) -> [Node] {
    nodes.flatMap { original -> [Node] in
      if Inliner.heldTensor(original) != nil, constantNames[scope.key]?[original.firstOutput] != nil { return [] }
      var node = original.resolved(scope.attributes)
      node.inputs = node.inputs.map { name in
        if let constant = constantNames[scope.key]?[name] { read.insert(constant) }
        return names[name] ?? name
      }
      node.outputs = node.outputs.map { made($0, scope, &names) }
      if let callee = functions[node.functionKey] { return expanded(callee, node) }
      if !node.name.isEmpty { node.name = self.names.takeNode("\(scope.caller)/\(node.name)") }
      return [node.mapGraphs { $0 = renamed($0, scope, &names) }]
    }
  }

  /// A branch or body; what it makes is not seen outside.
  private mutating func renamed(_ original: Graph, _ scope: Naming, _ names: inout [String: String]) -> Graph {
    let before = given.count
    defer { while given.count > before, let name = given.popLast() { names[name] = nil } }
    var graph = original
    for index in graph.inputs.indices { graph.inputs[index].name = made(graph.inputs[index].name, scope, &names) }
    for index in graph.initializers.indices { graph.initializers[index].name = made(graph.initializers[index].name, scope, &names) }
    graph.opaqueInitializers = graph.opaqueInitializers.map { made($0, scope, &names) }
    graph.nodes = renamed(graph.nodes, scope, &names)
    for index in graph.outputs.indices {
      let name = graph.outputs[index].name
      if let constant = constantNames[scope.key]?[name] { read.insert(constant) }
      graph.outputs[index].name = names[name] ?? name
    }
    return graph
  }

  /// The name in the model of a value that the function makes.
  private mutating func made(_ name: String, _ scope: Naming, _ names: inout [String: String]) -> String {
    if name.isEmpty { return name }
    if let known = names[name] { return known }
    let new = self.names.takeValue("\(scope.prefix)/\(name)")
    names[name] = new
    given.append(name)
    return new
  }

  // MARK: Constants of functions

  /// The tensor of a Constant node that is the same in every call.
  private static func heldTensor(_ node: Node) -> Tensor? {
    guard node.operatorType == "Constant", node.domain.isEmpty, case .tensor(let value)? = node.attributes["value"] else { return nil }
    let tensor = value.tensor
    return (tensor.type == .float32 || tensor.type.isHalf) && tensor.rank >= 1 ? tensor : nil
  }

  /// Gives the function's own constants names in the model, once.
  private mutating func hold(_ function: Function) {
    guard constantNames[function.key] == nil else { return }
    var names: [String: String] = [:]
    for node in function.nodes {
      guard let tensor = Inliner.heldTensor(node) else { continue }
      let name = self.names.takeValue("\(function.name).\(node.firstOutput)")
      names[node.firstOutput] = name
      constants.append(Initializer(name: name, tensor: tensor))
    }
    constantNames[function.key] = names
  }
}
