import CetGraph
import CetTensor

/// Writes the types of CetGraph as messages of onnx.proto, fields in ascending order as protobuf's own
/// serializers do. Attributes are sorted by name: the same node always gives the same bytes.
struct MessageEncoder {
  /// Where the data of large tensors goes; nil keeps all of it in the model file.
  var external: ExternalOutput?

  mutating func node(_ node: Node) throws(CetError) -> WireWriter {
    var output = WireWriter()
    for name in node.inputs { output.string(NodeField.input, name) }
    for name in node.outputs { output.string(NodeField.output, name) }
    output.optionalString(NodeField.name, node.name)
    output.string(NodeField.operatorType, node.operatorType)
    for (name, value) in node.attributes.sorted(by: { $0.key < $1.key }) {
      do {
        output.message(NodeField.attribute, try attribute(name, value))
      } catch {
        throw error.at(.node(node.displayName))
      }
    }
    output.optionalString(NodeField.domain, node.domain)
    output.optionalString(NodeField.overload, node.overload)
    return output
  }

  fileprivate mutating func attribute(_ name: String, _ value: Attribute) throws(CetError) -> WireWriter {
    var output = WireWriter()
    output.string(AttributeField.name, name)
    let type: Int64
    switch value {
    case .float(let value):
      output.float(AttributeField.float, value)
      type = AttributeKind.float
    case .int(let value):
      output.integer(AttributeField.int, value)
      type = AttributeKind.int
    case .string(let text):
      output.bytes(AttributeField.string, text)
      type = AttributeKind.string
    case .tensor(let tensor):
      output.message(AttributeField.tensor, try self.tensor(tensor))
      type = AttributeKind.tensor
    case .graph(let graph):
      output.message(AttributeField.graph, try self.graph(graph))
      type = AttributeKind.graph
    case .floats(let values):
      for value in values { output.float(AttributeField.floats, value) }
      type = AttributeKind.floats
    case .ints(let values):
      for value in values { output.integer(AttributeField.ints, value) }
      type = AttributeKind.ints
    case .strings(let texts):
      for text in texts { output.bytes(AttributeField.strings, text) }
      type = AttributeKind.strings
    case .tensors(let tensors):
      for tensor in tensors { output.message(AttributeField.tensors, try self.tensor(tensor)) }
      type = AttributeKind.tensors
    case .graphs(let graphs):
      for graph in graphs { output.message(AttributeField.graphs, try self.graph(graph)) }
      type = AttributeKind.graphs
    case .reference, .opaque:
      throw CetError(.invalidArgument, "attribute '\(name)' is of a kind that cannot be written anew")
    }
    output.integer(AttributeField.type, type)
    return output
  }

  mutating func tensor(_ initializer: Initializer) throws(CetError) -> WireWriter {
    do {
      var output = WireWriter()
      for size in initializer.tensor.shape { output.integer(TensorField.dims, Int64(size)) }
      output.integer(TensorField.dataType, Int64(initializer.tensor.type.rawValue))
      output.optionalString(TensorField.name, initializer.name)
      var raw = WireWriter()
      try TensorData.appendRaw(initializer.tensor, to: &raw)
      data(raw, into: &output)
      return output
    } catch {
      throw error.at(.initializer(initializer.name))
    }
  }

  /// The data of a tensor, in its message or in the external file.
  mutating func data(_ raw: WireWriter, into output: inout WireWriter) {
    guard raw.byteCount >= ExternalOutput.threshold, let offset = external?.place(raw),
      let location = external?.location
    else {
      return output.message(TensorField.rawData, raw)
    }
    for (key, value) in [("location", location), ("offset", String(offset)), ("length", String(raw.byteCount))] {
      output.message(TensorField.externalData, entry(key, value))
    }
    output.integer(TensorField.dataLocation, 1)
  }

  mutating func graph(_ graph: Graph) throws(CetError) -> WireWriter {
    guard graph.opaqueInitializers.isEmpty else {
      let name = graph.opaqueInitializers[0]
      throw CetError(.invalidArgument, "initializer '\(name)' is of a type that cannot be written anew").with(.initializer, name)
    }
    var output = WireWriter()
    for node in graph.nodes { output.message(GraphField.node, try self.node(node)) }
    output.optionalString(GraphField.name, graph.name)
    for initializer in graph.initializers { output.message(GraphField.initializer, try tensor(initializer)) }
    for input in graph.inputs { output.message(GraphField.input, valueInfo(input)) }
    for value in graph.outputs { output.message(GraphField.output, valueInfo(value)) }
    return output
  }

  func valueInfo(_ info: ValueInfo) -> WireWriter {
    var output = WireWriter()
    output.string(ValueInfoField.name, info.name)
    guard let element = info.type else { return output }
    var tensor = WireWriter()
    tensor.integer(TypeField.elementType, Int64(element.rawValue))
    if let shape = info.shape {
      var dimensions = WireWriter()
      for size in shape {
        var dimension = WireWriter()
        switch size {
        case .fixed(let size): dimension.integer(TypeField.dimensionValue, Int64(size))
        case .symbolic(let name): dimension.string(TypeField.dimensionParameter, name)
        case .unknown: break
        }
        dimensions.message(TypeField.dimension, dimension)
      }
      tensor.message(TypeField.shape, dimensions)
    }
    var type = WireWriter()
    type.message(TypeField.tensor, tensor)
    output.message(ValueInfoField.type, type)
    return output
  }

  func entry(_ key: String, _ value: String) -> WireWriter {
    var output = WireWriter()
    output.string(EntryField.key, key)
    output.string(EntryField.value, value)
    return output
  }

  func opset(_ domain: String, _ version: Int) -> WireWriter {
    var output = WireWriter()
    output.string(OpsetField.domain, domain)
    output.integer(OpsetField.version, Int64(version))
    return output
  }

  /// A whole model. Function bodies may not refer to attributes of their function.
  mutating func model(_ model: Model) throws(CetError) -> WireWriter {
    var output = WireWriter()
    output.integer(ModelField.irVersion, model.irVersion)
    output.optionalString(ModelField.producerName, model.producer)
    output.message(ModelField.graph, try graph(model.graph))
    for (domain, version) in model.opsets.sorted(by: { $0.key < $1.key }) {
      output.message(ModelField.opsetImport, opset(domain, version))
    }
    for (key, value) in model.metadata { output.message(ModelField.metadata, entry(key, value)) }
    for function in model.functions { output.message(ModelField.functions, try self.function(function)) }
    return output
  }

  private mutating func function(_ function: Function) throws(CetError) -> WireWriter {
    var output = WireWriter()
    output.string(FunctionField.name, function.name)
    for name in function.inputs { output.string(FunctionField.input, name) }
    for name in function.outputs { output.string(FunctionField.output, name) }
    for name in function.attributeNames { output.string(FunctionField.attribute, name) }
    for node in function.nodes { output.message(FunctionField.node, try self.node(node)) }
    for (domain, version) in function.opsets.sorted(by: { $0.key < $1.key }) {
      output.message(FunctionField.opsetImport, opset(domain, version))
    }
    output.string(FunctionField.domain, function.domain)
    for (name, value) in function.attributeDefaults.sorted(by: { $0.key < $1.key }) {
      output.message(FunctionField.attributeDefault, try attribute(name, value))
    }
    output.optionalString(FunctionField.overload, function.overload)
    return output
  }
}

extension Attribute {
  /// Whether both have the same encoding. What cannot be written anew differs from everything but its like.
  func isWritten(as other: Attribute) -> Bool {
    switch (self, other) {
    case (.opaque, .opaque): return true
    case (.reference(let name), .reference(let otherName)): return name == otherName
    default:
      var encoder = MessageEncoder()
      guard let first = try? encoder.attribute("", self), let second = try? encoder.attribute("", other) else { return false }
      return Array(first) == Array(second)
    }
  }
}

/// The contents of an external data file in the making.
struct ExternalOutput {
  /// Smaller tensors stay in the model: each external one costs up to a page of padding.
  static let threshold = 16384
  static let alignment = 4096

  let location: String
  private(set) var data = WireWriter()

  init(location: String) { self.location = location }

  /// Appends a tensor's bytes on a page of their own, so that readers can map them; gives the offset.
  mutating func place(_ raw: WireWriter) -> Int {
    data.append(zeros: -data.byteCount & (ExternalOutput.alignment - 1))
    let offset = data.byteCount
    data.append(raw)
    return offset
  }
}
