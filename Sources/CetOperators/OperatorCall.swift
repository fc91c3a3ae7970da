import CetGraph
import CetTensor

/// A node being lowered: its inputs as values, its attributes with the defaults of its operator set.
public struct OperatorCall {
  public let node: Node
  /// Version of the node's own domain.
  public let opset: Int
  /// nil where an optional input is omitted.
  public let inputs: [Value?]
  public let e: Emitter
  /// The enclosing scope, for subgraphs.
  public let scope: Scope

  public func has(_ index: Int) -> Bool { index < inputs.count && inputs[index] != nil }

  public func input(_ index: Int) throws(CetError) -> Value {
    guard index < inputs.count, let value = inputs[index] else {
      throw CetError(.invalidModel, "input \(index) is missing")
    }
    return value
  }

  public func input(_ index: Int, rankAtLeast rank: Int) throws(CetError) -> Value {
    let value = try input(index)
    guard value.rank >= rank else {
      throw CetError(.shapeMismatch, "input \(index) has shape \(value.shape.shapeText), expected rank \(rank) or more")
    }
    return value
  }

  public func optional(_ index: Int) -> Value? { index < inputs.count ? inputs[index] : nil }

  /// Input 1 ready to broadcast with input 0. Before opset 7 the attribute `axis` says where its axes begin.
  public func rightOperand() throws(CetError) -> Value {
    let (a, b) = (try input(0), try input(1))
    guard opset < 7, let axis = try int("axis"), axis >= 0, axis < a.rank - b.rank else { return b }
    return try e.reshape(b, b.shape + [Int](repeating: 1, count: a.rank - axis - b.rank))
  }

  // MARK: Attributes

  public var attributes: NodeAttributes { NodeAttributes(node) }
  public func int(_ name: String) throws(CetError) -> Int? { try attributes.int(name) }
  public func int(_ name: String, _ standard: Int) throws(CetError) -> Int { try attributes.int(name) ?? standard }
  public func ints(_ name: String) throws(CetError) -> [Int]? { try attributes.ints(name) }
  public func float(_ name: String) throws(CetError) -> Double? { try attributes.float(name) }
  public func float(_ name: String, _ standard: Double) throws(CetError) -> Double { try attributes.float(name) ?? standard }
  public func floats(_ name: String) throws(CetError) -> [Double]? { try attributes.floats(name) }
  public func strings(_ name: String) throws(CetError) -> [String]? { try attributes.strings(name) }
  public func graph(_ name: String) throws(CetError) -> Graph { try attributes.graph(name) }
  public func string(_ name: String, _ standard: String) throws(CetError) -> String { try attributes.string(name, standard) }
  public func elementType(_ name: String) throws(CetError) -> ElementType? { try attributes.elementType(name) }

  // MARK: Inputs that must be known before the model runs

  static let dependence = "depends on the data; it must be constant for a batch"

  public func known(_ index: Int, _ what: String) throws(CetError) -> Tensor {
    guard let tensor = e.known(try input(index)) else {
      throw CetError(.unsupportedOperator, "\(what) (input \(index)) \(OperatorCall.dependence)")
    }
    return tensor
  }

  public func knownInts(_ index: Int, _ what: String) throws(CetError) -> [Int] {
    let given = try known(index, what)
    try e.foresee(entries: given.count, width: 24, work: 4, what)
    let tensor = try Conversion.convert(given, to: .int64, e.context)
    return try tensor.array(as: Int64.self).map { Int($0) }
  }

  public func knownScalar(_ index: Int, _ what: String) throws(CetError) -> Double {
    guard let value = try knownDoubles(index, what).first else {
      throw CetError(.invalidModel, "\(what) (input \(index)) is empty")
    }
    return value
  }

  public func knownDoubles(_ index: Int, _ what: String) throws(CetError) -> [Double] {
    let given = try known(index, what)
    try e.foresee(entries: given.count, width: 16, work: 4, what)
    return try Conversion.convert(given, to: .float64, e.context).array(as: Double.self)
  }

  public func knownInt(_ index: Int, _ what: String) throws(CetError) -> Int {
    guard let value = try knownInts(index, what).first else {
      throw CetError(.invalidModel, "\(what) (input \(index)) is empty")
    }
    return value
  }

  /// Integers that moved from an attribute to an input in a later operator set; nil when neither is given.
  public func intsFromAttributeOrInput(_ name: String, _ index: Int) throws(CetError) -> [Int]? {
    if has(index) { return try knownInts(index, name) }
    return try ints(name)
  }

  /// Axes counted from the end made positive, checked, sorted and unique.
  public func axes(_ axes: [Int], rank: Int) throws(CetError) -> [Int] {
    let positive = try axes.map { x throws(CetError) in try axis(x, rank: rank) }
    guard Set(positive).count == positive.count else {
      throw CetError(.invalidModel, "axes \(axes) name an axis twice")
    }
    return positive.sorted()
  }

  public func axis(_ axis: Int, rank: Int) throws(CetError) -> Int {
    guard axis >= -rank, axis < rank else {
      throw CetError(.shapeMismatch, "axis \(axis) is outside rank \(rank)")
    }
    return axis < 0 ? axis + rank : axis
  }
}

extension CetError {
  /// Whether other data might not have caused it: something that must be known before the model runs was not.
  public var dependsOnData: Bool { code == .unsupportedOperator && message.hasSuffix(OperatorCall.dependence) }
}

/// The newest operator set of the default domain that the entries cover.
public let newestOpset = 28

/// The operator sets of the default domain that the entries cover.
public let allOpsets = 6...newestOpset

/// How an ONNX operator becomes primitives.
public struct OperatorEntry: Sendable {
  public enum Derivatives: String, Sendable {
    case exact
    /// Piecewise constant: the derivative is zero.
    case zero
  }
  public let domain: String
  public let type: String
  /// First and last operator set versions whose meaning `lower` covers.
  public let versions: ClosedRange<Int>
  public let derivatives: Derivatives
  public let lower: @Sendable (OperatorCall) throws -> [Value]

  public init(
    _ type: String, domain: String = "", versions: ClosedRange<Int> = allOpsets, derivatives: Derivatives = .exact,
    _ lower: @escaping @Sendable (OperatorCall) throws -> [Value]
  ) {
    self.domain = domain
    self.type = type
    self.versions = versions
    self.derivatives = derivatives
    self.lower = lower
  }
}

/// All operators the library knows, by domain and type.
public enum OperatorRegistry {
  public static let entries: [OperatorEntry] =
    elementwiseOperators + logicOperators + shapeOperators + movementOperators + linearOperators + poolOperators
    + normalizationOperators + reductionOperators + indexOperators + quantizationOperators + resizeOperators
    + einsumOperators + recurrentOperators + attentionOperators + controlFlowOperators + lossOperators
    + signalOperators + visionOperators + microsoftOperators + blockQuantizedOperators

  private static let table: [String: OperatorEntry] = Dictionary(
    entries.map { (key($0.domain, $0.type), $0) }, uniquingKeysWith: { first, _ in first })

  public static func entry(domain: String, type: String) -> OperatorEntry? {
    table[key(domain, type)]
  }

  private static func key(_ domain: String, _ type: String) -> String {
    domain.isEmpty || domain == "ai.onnx" ? type : "\(domain)::\(type)"
  }

  /// What is missing to run a node, or a node of the model's function that it calls; nil when nothing is.
  public static func obstacle(to node: Node, in model: Model) -> String? {
    guard let function = model.function(for: node) else { return obstacle(to: node, opsets: model.opsets) }
    // Without functions of its own: calls inside a function are checked when they are inlined.
    let opsets = model.opsets.merging(function.opsets) { $1 }
    for inner in function.nodes where model.function(for: inner) == nil {
      if let obstacle = obstacle(to: inner, opsets: opsets) { return obstacle }
    }
    return nil
  }

  /// What is missing to run a node; nil when nothing is.
  public static func obstacle(to node: Node, opsets: [String: Int]) -> String? {
    let domain = node.domain == "ai.onnx" ? "" : node.domain
    let version = opsets[domain] ?? opsets[node.domain] ?? 1
    let label = domain.isEmpty ? node.operatorType : "\(domain).\(node.operatorType)"
    guard let entry = entry(domain: domain, type: node.operatorType) else {
      return "operator \(label) (opset \(version)) is not supported"
    }
    guard domain != "" || entry.versions.contains(version) else {
      return "operator \(label) is supported in opsets \(entry.versions.lowerBound)-\(entry.versions.upperBound), the model has \(version)"
    }
    return nil
  }
}
