import CetFormats
import CetGraph
import CetTensor

/// Reads the messages of onnx.proto into the types of CetGraph. The order of an encoder's fields is free, so
/// a message is read to its end before its parts are judged.
struct ModelReader {
  static let supportedOpsets = 6...28

  let source: HeldBytes
  /// Where external data lies; nil for a model that has none.
  let external: ExternalData?
  var externalTensors: [ExternalTensor] = []

  init(source: HeldBytes, external: ExternalData?) {
    self.source = source
    self.external = external
  }

  mutating func model() throws(CetError) -> Model {
    var reader = WireReader(source.base, 0..<source.byteCount, .model)
    var whole = reader
    // What is made of a file are many small values, whose memory nobody can be refused one by one.
    try SystemMemory.checkRoom(for: whole.checkEncoding().byteCount)
    var irVersion: Int64?
    var producer = (name: "", version: "")
    var (domain, version, documentation) = ("", Int64(0), "")
    var graphMessage: WireReader?
    var opsets: [String: Int] = [:]
    var functions: [Function] = []
    var metadata: [(key: String, value: String)] = []
    while let field = try reader.next() {
      switch field.number {
      case ModelField.irVersion: irVersion = try reader.integer(field)
      case ModelField.producerName: producer.name = try reader.string(field)
      case ModelField.producerVersion: producer.version = try reader.string(field)
      case ModelField.domain: domain = try reader.string(field)
      case ModelField.modelVersion: version = try reader.integer(field)
      case ModelField.documentation: documentation = try reader.string(field)
      case ModelField.opsetImport: try opset(reader.message(field), into: &opsets)
      case ModelField.functions: functions.append(try function(reader.message(field)))
      case ModelField.metadata: metadata.append(try entry(reader.message(field)))
      case ModelField.graph: graphMessage = try reader.message(field, after: graphMessage)
      default: try reader.skip(field)
      }
    }
    guard let graphMessage else {
      throw CetError(.invalidModel, "", expected: "an ONNX model", got: "\(source.byteCount) bytes without a graph")
    }
    guard let irVersion, irVersion >= 3 else {
      throw CetError(.invalidModel, "", expected: "IR version 3 or later", got: irVersion.map(String.init) ?? "none")
    }
    var model = Model(
      irVersion: irVersion, opsets: opsets, producer: producer.name, graph: try graph(graphMessage), functions: functions, metadata: metadata)
    model.producerVersion = producer.version
    (model.domain, model.version, model.documentation) = (domain, version, documentation)
    try GraphCheck.check(model)
    return model
  }

  mutating func graph(_ message: WireReader) throws(CetError) -> Graph {
    var reader = message
    var graph = Graph()
    while let field = try reader.next() {
      switch field.number {
      case GraphField.node:
        try FileWatch.check()
        graph.nodes.append(try node(reader.message(field)))
      case GraphField.name: graph.name = try reader.string(field)
      case GraphField.initializer:
        graph.add(try tensor(reader.message(field)))
      case GraphField.sparseInitializer: graph.add(try sparseTensor(reader.message(field)))
      case GraphField.input: graph.inputs.append(try valueInfo(reader.message(field)))
      case GraphField.output: graph.outputs.append(try valueInfo(reader.message(field)))
      default: try reader.skip(field)
      }
    }
    return graph
  }

  mutating func node(_ message: WireReader) throws(CetError) -> Node {
    var reader = message
    var node = Node("", inputs: [], outputs: [])
    var attributeReaders: [WireReader] = []
    while let field = try reader.next() {
      switch field.number {
      case NodeField.input: node.inputs.append(try reader.string(field))
      case NodeField.output: node.outputs.append(try reader.string(field))
      case NodeField.name: node.name = try reader.string(field)
      case NodeField.operatorType: node.operatorType = try reader.string(field)
      case NodeField.domain: node.domain = canonicalDomain(try reader.string(field))
      case NodeField.overload: node.overload = try reader.string(field)
      case NodeField.attribute: attributeReaders.append(try reader.message(field))
      default: try reader.skip(field)
      }
    }
    do throws(CetError) {
      guard !node.operatorType.isEmpty else {
        throw CetError(.invalidModel, "byte \(message.position): no operator type")
      }
      for reader in attributeReaders {
        let (name, value) = try attribute(reader)
        // The one place where a node may hold a sparse tensor; it is read as a dense one.
        let isSparse = name == "sparse_value" && node.operatorType == "Constant"
        guard node.attributes.updateValue(value, forKey: isSparse ? "value" : name) == nil else {
          throw CetError(.invalidModel, "attribute '\(name)' is given twice")
        }
      }
    } catch {
      throw error.at(.node(node.displayName))
    }
    return node
  }

  private mutating func function(_ message: WireReader) throws(CetError) -> Function {
    var reader = message
    var function = Function(
      name: "", domain: "", inputs: [], outputs: [], attributeNames: [], attributeDefaults: [:], nodes: [], opsets: [:])
    while let field = try reader.next() {
      switch field.number {
      case FunctionField.name: function.name = try reader.string(field)
      case FunctionField.domain: function.domain = canonicalDomain(try reader.string(field))
      case FunctionField.overload: function.overload = try reader.string(field)
      case FunctionField.input: function.inputs.append(try reader.string(field))
      case FunctionField.output: function.outputs.append(try reader.string(field))
      case FunctionField.attribute: function.attributeNames.append(try reader.string(field))
      case FunctionField.node: function.nodes.append(try node(reader.message(field)))
      case FunctionField.opsetImport: try opset(reader.message(field), into: &function.opsets)
      case FunctionField.attributeDefault:
        let (name, value) = try attribute(reader.message(field))
        function.attributeDefaults[name] = value
      default: try reader.skip(field)
      }
    }
    return function
  }

  // MARK: Small messages

  private func opset(_ message: WireReader, into opsets: inout [String: Int]) throws(CetError) {
    var reader = message
    var domain = ""
    var version: Int64 = 0
    while let field = try reader.next() {
      switch field.number {
      case OpsetField.domain: domain = canonicalDomain(try reader.string(field))
      case OpsetField.version: version = try reader.integer(field)
      default: try reader.skip(field)
      }
    }
    if let before = opsets.updateValue(Int(version), forKey: domain), before != Int(version) {
      throw CetError(.invalidModel, "the operator set of domain '\(domain)' is both \(before) and \(version)")
    }
  }

  func entry(_ message: WireReader) throws(CetError) -> (key: String, value: String) {
    var reader = message
    var entry = (key: "", value: "")
    while let field = try reader.next() {
      switch field.number {
      case EntryField.key: entry.key = try reader.string(field)
      case EntryField.value: entry.value = try reader.string(field)
      default: try reader.skip(field)
      }
    }
    return entry
  }

}

extension Graph {
  fileprivate mutating func add(_ read: ReadTensor) {
    if let tensor = read.tensor {
      initializers.append(Initializer(name: read.name, tensor: tensor))
    } else {
      opaqueInitializers.append(read.name)
    }
  }
}

/// "ai.onnx" is the long name of the default domain.
func canonicalDomain(_ domain: String) -> String { domain == "ai.onnx" ? "" : domain }
