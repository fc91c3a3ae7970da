import CetTensor

/// A model as ONNX describes it: typed, named, and nothing computed.
public struct Model: Sendable {
  public var irVersion: Int64
  /// Operator set version by domain; the default domain is "".
  public var opsets: [String: Int]
  public var producer: String
  public var producerVersion = ""
  /// Who the model comes from, as a reverse domain name.
  public var domain = ""
  /// The producer's number for this version of the model.
  public var version: Int64 = 0
  public var documentation = ""
  public var graph: Graph
  public var functions: [Function] { didSet { places = Model.places(of: functions) } }
  /// The first function of each key.
  private var places: [FunctionKey: Int]
  public var metadata: [(key: String, value: String)]

  public init(
    irVersion: Int64 = 8, opsets: [String: Int] = ["": 17], producer: String = "", graph: Graph,
    functions: [Function] = [], metadata: [(key: String, value: String)] = []
  ) {
    self.irVersion = irVersion
    self.opsets = opsets
    self.producer = producer
    self.graph = graph
    self.functions = functions
    places = Model.places(of: functions)
    self.metadata = metadata
  }

  private static func places(of functions: [Function]) -> [FunctionKey: Int] {
    Dictionary(functions.indices.map { (functions[$0].key, $0) }, uniquingKeysWith: { first, _ in first })
  }

  /// The model-local function that a node calls.
  public func function(for node: Node) -> Function? { places[node.functionKey].map { functions[$0] } }

  /// Version of the default operator set; 1 when the model names none (as IR 1 and 2 do).
  public var opset: Int { opsets[""] ?? 1 }
}

/// Nodes in the topological order that ONNX requires.
public struct Graph: Sendable {
  public var name: String
  public var nodes: [Node]
  public var initializers: [Initializer]
  /// Inputs as the file lists them: old models have initializers among them.
  public var inputs: [ValueInfo]
  public var outputs: [ValueInfo]
  /// Names of constants whose contents the library does not read: those of newer types, and sparse ones of a size that
  /// is out of proportion.
  /// Written files keep them.
  public var opaqueInitializers: [String] = []

  public init(
    name: String = "", nodes: [Node] = [], initializers: [Initializer] = [], inputs: [ValueInfo] = [],
    outputs: [ValueInfo] = []
  ) {
    self.name = name
    self.nodes = nodes
    self.initializers = initializers
    self.inputs = inputs
    self.outputs = outputs
  }

  /// Inputs that a caller must feed: those without an initializer of the same name.
  public var requiredInputs: [ValueInfo] {
    let held = Set(initializers.map(\.name)).union(opaqueInitializers)
    return inputs.filter { !held.contains($0.name) }
  }
}

public struct Node: Sendable {
  public var name: String
  public var operatorType: String
  public var domain: String
  /// Chooses among model-local functions of one name and domain.
  public var overload = ""
  /// Value names; "" stands for an omitted optional input.
  public var inputs: [String]
  public var outputs: [String]
  public var attributes: [String: Attribute]

  public init(
    _ operatorType: String, domain: String = "", name: String = "", inputs: [String], outputs: [String],
    attributes: [String: Attribute] = [:]
  ) {
    self.operatorType = operatorType
    self.domain = domain
    self.name = name
    self.inputs = inputs
    self.outputs = outputs
    self.attributes = attributes
  }

  /// How messages call the node: its name, or its first output when it has none.
  public var displayName: String { name.isEmpty ? (outputs.first ?? "?") : name }

  /// The operator, with its domain in front unless it is ONNX's own.
  public var qualifiedType: String { domain.isEmpty || domain == "ai.onnx" ? operatorType : "\(domain).\(operatorType)" }

  /// The value at an input, "" where the file gives the node fewer: what ONNX writes for one that is omitted.
  public func input(_ index: Int) -> String { inputs.indices.contains(index) ? inputs[index] : "" }

  /// The value at an output, "" where the file gives the node fewer.
  public func output(_ index: Int) -> String { outputs.indices.contains(index) ? outputs[index] : "" }

  /// What tells nodes apart, because a value has one producer: the first output that has a name.
  public var firstOutput: String { outputs.first { !$0.isEmpty } ?? "" }
}

/// An attribute's value (AttributeProto). Tensors share memory with the file.
public indirect enum Attribute: Sendable {
  case int(Int64)
  case float(Float)
  case string([UInt8])
  case tensor(Initializer)
  case graph(Graph)
  case ints([Int64])
  case floats([Float])
  case strings([[UInt8]])
  case tensors([Initializer])
  case graphs([Graph])
  /// A reference to an attribute of the enclosing function (AttributeProto.ref_attr_name).
  case reference(String)
  /// A kind the library has no use for (sparse tensors, type protos).
  case opaque
}

/// A constant tensor of the file (TensorProto).
public struct Initializer: Sendable {
  public var name: String
  /// Sub-byte types are unpacked to one byte an element.
  public var tensor: Tensor

  public init(name: String, tensor: Tensor) {
    self.name = name
    self.tensor = tensor
  }
}

/// A graph input or output (ValueInfoProto). `shape` is nil when the file gives none.
public struct ValueInfo: Sendable, Equatable {
  public enum Dimension: Sendable, Hashable {
    case fixed(Int)
    case symbolic(String)
    case unknown
  }
  public var name: String
  public var type: ElementType?
  public var shape: [Dimension]?

  public init(name: String, type: ElementType?, shape: [Dimension]?) {
    self.name = name
    self.type = type
    self.shape = shape
  }
}

extension ValueInfo {
  /// The description of an initializer.
  public init(of initializer: Initializer) {
    self.init(
      name: initializer.name, type: initializer.tensor.type, shape: initializer.tensor.shape.map { .fixed($0) })
  }

  /// Whether a value of this description can be `tensor`.
  public func describes(_ tensor: Tensor) -> Bool {
    guard type == tensor.type else { return false }
    guard let shape else { return true }
    return shape.count == tensor.shape.count
      && zip(shape, tensor.shape).allSatisfy { dimension, size in
        if case .fixed(let expected) = dimension { return expected == size }
        return true
      }
  }
}

/// A model-local function (FunctionProto).
public struct Function: Sendable {
  public var name: String
  public var domain: String
  public var overload = ""
  public var inputs: [String]
  public var outputs: [String]
  public var attributeNames: [String]
  public var attributeDefaults: [String: Attribute]
  public var nodes: [Node]
  public var opsets: [String: Int]

  public init(
    name: String, domain: String, inputs: [String], outputs: [String], attributeNames: [String],
    attributeDefaults: [String: Attribute], nodes: [Node], opsets: [String: Int]
  ) {
    self.name = name
    self.domain = domain
    self.inputs = inputs
    self.outputs = outputs
    self.attributeNames = attributeNames
    self.attributeDefaults = attributeDefaults
    self.nodes = nodes
    self.opsets = opsets
  }
}
