import CetTensor

/// Writes the nodes of a model's default domain so that they mean in a later operator set what they mean in theirs.
///
/// Between versions most operators only gain types, attributes and inputs whose defaults are the old meaning; those
/// stay as they are. `OpsetStep.all` has the others. What needs a constant gets a Constant node in front of it, so that
/// branches, bodies and functions are treated alike.
public struct OpsetRaise: Sendable {
  /// Nothing is converted from before it.
  static let oldest = 6

  public let target: Int
  private let names: NameScope
  /// Of the main graph and of each function.
  private let indices: [GraphIndex]
  /// Number of axes of the main graph's values, where it follows from the file.
  private let ranks: [String: Int]
  /// Whether all floats of the model are known to be of 32 bits.
  let hasOnlyFloat32: Bool

  /// nil when nothing of the model is older than what the edit needs.
  public init?(_ model: Model, for edit: ModelEdit) {
    let versions = [model.opsets[""]] + model.functions.map { $0.opsets[""] }
    guard let target = edit.minimumOpset, versions.contains(where: { $0 ?? target < target }) else { return nil }
    self.target = target
    names = NameScope(model, edit)
    let index = GraphIndex(model.graph)
    indices = [index] + model.functions.map { GraphIndex($0) }
    hasOnlyFloat32 = model.elementTypes.isDisjoint(with: [.float64, .float16, .bfloat16])
    ranks = KnownRanks(model, index.constants).ranks
  }

  /// Whether a node of operator set `version` may have to change.
  public func changes(_ operatorType: String, domain: String, from version: Int) -> Bool {
    domain.isEmpty && (step(operatorType, after: version) != nil || version < OpsetRaise.oldest && version < target)
  }

  /// The node of operator set `version` as the target has it, with what it needs before and after it.
  public func raised(_ node: Node, from version: Int) throws(CetError) -> [Node] {
    guard changes(node.operatorType, domain: node.domain, from: version) else { return [node] }
    var rising = RisingNode(node, version: version, raise: self)
    guard version >= OpsetRaise.oldest else { throw rising.refusal("below \(OpsetRaise.oldest) nothing is converted") }
    var reached = version
    while let step = step(rising.node.operatorType, after: reached) {
      try step.convert(&rising)
      reached = step.version
    }
    return rising.before + [rising.node] + rising.after
  }

  /// All nodes, those of branches and bodies included.
  public func raised(_ nodes: [Node], from version: Int) throws(CetError) -> [Node] {
    var result: [Node] = []
    for node in nodes {
      let inner = try node.mapGraphs { graph throws(CetError) in graph.nodes = try raised(graph.nodes, from: version) }
      result += try raised(inner, from: version)
    }
    return result
  }

  private func step(_ operatorType: String, after version: Int) -> OpsetStep? {
    OpsetStep.all[operatorType]?.first { $0.version > version && $0.version <= target }
  }

  // MARK: What steps ask

  func free(_ name: String) -> String { names.freeValue(name) }

  func isRead(_ name: String) -> Bool { !name.isEmpty && indices.contains { $0.isRead(name) } }

  func rank(_ name: String) -> Int? { ranks[name] ?? constant(name)?.rank }

  /// nil as well where several functions have constants of that name.
  func constant(_ name: String) -> Tensor? {
    let found = indices.compactMap { $0.constants[name] }
    return found.count == 1 ? found[0] : nil
  }
}

/// A node on its way to the target.
struct RisingNode {
  var node: Node
  private(set) var before: [Node] = []
  private(set) var after: [Node] = []
  let raise: OpsetRaise
  private let original: Node
  private let version: Int

  init(_ node: Node, version: Int, raise: OpsetRaise) {
    self.node = node
    original = node
    self.version = version
    self.raise = raise
  }

  func refusal(_ reason: String) -> CetError {
    CetError(
      .unsupportedOperator,
      "\(original.operatorType) of operator set \(version) cannot be written for operator set \(raise.target): \(reason)"
    ).at(.node(original.displayName))
  }

  /// The name of a value that belongs to this node.
  func value(_ role: String) -> String { raise.free("\(original.firstOutput).cet.\(role)") }

  // MARK: Attributes

  private func value(of name: String) throws(CetError) -> Attribute? {
    guard let attribute = node.attributes[name] else { return nil }
    if case .reference = attribute { throw refusal("attribute '\(name)' is an argument of its function") }
    return attribute
  }

  private func malformed(_ name: String) -> CetError {
    CetError(.invalidModel, "attribute '\(name)' is of another kind than its operator has").at(.node(original.displayName))
  }

  func int(_ name: String) throws(CetError) -> Int64? {
    guard let attribute = try value(of: name) else { return nil }
    guard case .int(let value) = attribute else { throw malformed(name) }
    return value
  }

  func string(_ name: String) throws(CetError) -> String? {
    guard let attribute = try value(of: name) else { return nil }
    guard case .string(let value) = attribute else { throw malformed(name) }
    return String(decoding: value, as: UTF8.self)
  }

  mutating func takeInt(_ name: String) throws(CetError) -> Int64? {
    defer { node.attributes[name] = nil }
    return try int(name)
  }

  /// An empty list counts as none.
  mutating func takeInts(_ name: String) throws(CetError) -> [Int64]? {
    defer { node.attributes[name] = nil }
    guard let attribute = try value(of: name) else { return nil }
    guard case .ints(let values) = attribute else {
      guard case .floats(let none) = attribute, none.isEmpty else { throw malformed(name) }
      return nil
    }
    return values.isEmpty ? nil : values
  }

  mutating func takeFloat(_ name: String) throws(CetError) -> Float? {
    defer { node.attributes[name] = nil }
    guard let attribute = try value(of: name) else { return nil }
    guard case .float(let value) = attribute else { throw malformed(name) }
    return value
  }

  mutating func takeFloats(_ name: String) throws(CetError) -> [Float]? {
    defer { node.attributes[name] = nil }
    guard let attribute = try value(of: name) else { return nil }
    guard case .floats(let values) = attribute else { throw malformed(name) }
    return values
  }

  mutating func set(_ name: String, _ text: String) { node.attributes[name] = .string(Array(text.utf8)) }

  // MARK: Values

  func input(_ index: Int) -> String { index < node.inputs.count ? node.inputs[index] : "" }

  mutating func setInput(_ index: Int, _ name: String) {
    while node.inputs.count <= index { node.inputs.append("") }
    node.inputs[index] = name
  }

  mutating func prepend(_ type: String, _ inputs: [String], _ role: String, _ attributes: [String: Attribute] = [:]) -> String {
    let name = value(role)
    before.append(Node(type, inputs: inputs, outputs: [name], attributes: attributes))
    return name
  }

  mutating func append(_ type: String, _ inputs: [String], makes output: String) {
    after.append(Node(type, inputs: inputs, outputs: [output]))
  }

  private mutating func constant(_ role: String, _ tensor: Tensor) -> String {
    prepend("Constant", [], role, ["value": .tensor(Initializer(name: "", tensor: tensor))])
  }

  mutating func constant(_ role: String, _ values: [Int64]) throws(CetError) -> String {
    constant(role, try Tensor(values, shape: [values.count]))
  }

  mutating func scalar(_ role: String, _ value: Int64) throws(CetError) -> String { constant(role, try Tensor(scalar: value)) }

  mutating func scalar(_ role: String, _ value: Float) throws(CetError) -> String { constant(role, try Tensor(scalar: value)) }

  mutating func constant(_ role: String, _ values: [Float]) throws(CetError) -> String {
    constant(role, try Tensor(values, shape: [values.count]))
  }

  /// A number of the same type as the first input, whose type the file does not always tell.
  mutating func likeFirstInput(_ role: String, _ value: Float) throws(CetError) -> String {
    if raise.hasOnlyFloat32 { return try scalar(role, value) }
    guard raise.target >= 15 else { throw refusal("the type of its \(role) does not follow from the file") }
    let number = try scalar(role + ".float32", value)
    return prepend("CastLike", [number, input(0)], role)
  }

  /// Gives an input of `rank` axes so many more of size 1 behind them.
  mutating func appendAxes(_ count: Int64, toInput index: Int, rank: Int) throws(CetError) {
    guard count >= 0 else { throw refusal("its second operand has axes that the first does not have") }
    guard count > 0 else { return }
    // A 0 keeps a size.
    let sizes = [Int64](repeating: 0, count: rank) + [Int64](repeating: 1, count: Int(count))
    setInput(index, prepend("Reshape", [input(index), try constant("sizes", sizes)], "operand"))
  }

  /// An attribute that became the input `index`.
  mutating func moveInts(_ name: String, toInput index: Int) throws(CetError) {
    if let values = try takeInts(name) { setInput(index, try constant(name, values)) }
  }
}
