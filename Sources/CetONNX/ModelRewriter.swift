import CetGraph
import CetTensor

/// Walks the bytes of a model file and writes them again with an edit applied. Whatever the edit does not
/// name is referred to as a range of the file: unknown fields, documentation, newer types and the order of
/// everything survive. Only tensors with external data change their form, because the files they point to
/// need not be where the output goes.
struct ModelRewriter {
  let source: HeldBytes
  private let externalTensors: [ExternalTensor]
  private let model: Model
  private let edit: ModelEdit
  private let changed: [String: Initializer]
  /// Whether the edit may change something inside a branch or body.
  private let editsSubgraphs: Bool
  private let raise: OpsetRaise?
  /// The operator set of the nodes that are walked: the model's, or a function's.
  private var version: Int
  /// Names in a function are its own: an edit means none of them.
  private var isInFunction = false
  private var encoder: MessageEncoder

  var externalData: WireWriter? { encoder.external?.data }

  init(file: ModelFile, edit: ModelEdit, externalLocation: String?) {
    source = file.source
    externalTensors = file.externalTensors
    model = file.model
    self.edit = edit
    changed = Dictionary(edit.initializers.map { ($0.name, $0) }, uniquingKeysWith: { $1 })
    raise = OpsetRaise(file.model, for: edit)
    version = file.model.opset
    editsSubgraphs = raise != nil || file.model.graph.nodes.contains { $0.subgraphs.contains(where: edit.touches) }
    encoder = MessageEncoder(external: externalLocation.map(ExternalOutput.init(location:)))
  }

  mutating func rewritten() throws(CetError) -> WireWriter {
    var reader = WireReader(source.base, 0..<source.byteCount, .model)
    var output = WireWriter()
    if edit.isEmpty && externalTensors.isEmpty {
      append(0..<source.byteCount, to: &output)
      return output
    }
    var graph = try graphMessage()
    var metadata = edit.metadata
    var replacedKeys: Set<String> = []
    let irVersion = max(model.irVersion, edit.minimumIRVersion ?? model.irVersion)
    while let field = try reader.next() {
      switch field.number {
      case ModelField.irVersion where irVersion > model.irVersion:
        try reader.skip(field)
        output.integer(ModelField.irVersion, irVersion)
      case ModelField.opsetImport:
        output.message(ModelField.opsetImport, try opset(reader.message(field), of: model.opset))
      case ModelField.graph:
        try reader.skip(field)
        guard let message = graph else { continue }
        output.message(ModelField.graph, try mainGraph(message, irVersion: irVersion))
        graph = nil  // all its parts are written
      case ModelField.functions:
        let message = try reader.message(field)
        if try !edit.removedFunctions.contains(functionKey(message)) {
          output.message(ModelField.functions, try function(message))
        }
      case ModelField.metadata:
        let key = try string(EntryField.key, of: reader.message(field))
        if let index = metadata.firstIndex(where: { $0.key == key }) {
          output.message(ModelField.metadata, encoder.entry(key, metadata[index].value))
          metadata.remove(at: index)
          replacedKeys.insert(key)
        } else if !replacedKeys.contains(key) {
          append(field.start..<reader.position, to: &output)
        }
      default:
        try reader.skip(field)
        append(field.start..<reader.position, to: &output)
      }
    }
    if let minimum = edit.minimumOpset, model.opsets[""] == nil {
      output.message(ModelField.opsetImport, encoder.opset("", minimum))
    }
    for (domain, version) in edit.domains.sorted(by: { $0.key < $1.key }) where model.opsets[domain] == nil {
      output.message(ModelField.opsetImport, encoder.opset(domain, version))
    }
    for (key, value) in metadata { output.message(ModelField.metadata, encoder.entry(key, value)) }
    return output
  }

  /// The import with its version raised when it is the default domain's and too low.
  private func opset(_ message: WireReader, of current: Int) throws(CetError) -> WireWriter {
    var output = WireWriter()
    let domain = canonicalDomain(try string(OpsetField.domain, of: message))
    guard domain.isEmpty, let minimum = edit.minimumOpset, minimum > current else {
      append(message.position..<message.end, to: &output)
      return output
    }
    var reader = message
    while let field = try reader.next() {
      try reader.skip(field)
      if field.number != OpsetField.version { append(field.start..<reader.position, to: &output) }
    }
    output.integer(OpsetField.version, Int64(minimum))
    return output
  }

  /// A function imports operator sets of its own, but what it calls must mean the same in the model's: it rises too.
  private mutating func function(_ message: WireReader) throws(CetError) -> WireWriter {
    isInFunction = true
    defer { (isInFunction, version) = (false, model.opset) }
    guard raise != nil, let current = try defaultOpset(ofFunction: message) else { return try copy(message, as: .function) }
    version = current
    var output = WireWriter()
    var reader = message
    while let field = try reader.next() {
      switch field.number {
      case FunctionField.node: try appendRaised(reader.message(field), to: &output, as: FunctionField.node)
      case FunctionField.opsetImport:
        output.message(field.number, try opset(reader.message(field), of: current))
      case FunctionField.attributeDefault: output.message(field.number, try copy(reader.message(field), as: .attribute))
      default:
        try reader.skip(field)
        append(field.start..<reader.position, to: &output)
      }
    }
    return output
  }

  private func defaultOpset(ofFunction message: WireReader) throws(CetError) -> Int? {
    var reader = message
    while let field = try reader.next() {
      guard field.number == FunctionField.opsetImport else {
        try reader.skip(field)
        continue
      }
      let entry = try reader.message(field)
      if canonicalDomain(try string(OpsetField.domain, of: entry)).isEmpty { return Int(try integer(OpsetField.version, of: entry)) }
    }
    return nil
  }

  // MARK: The main graph

  private mutating func mainGraph(_ message: WireReader, irVersion: Int64) throws(CetError) -> WireWriter {
    var output = WireWriter()
    for node in edit.leadingNodes { output.message(GraphField.node, try encoder.node(node)) }
    var placed: Set<String> = []
    var remaining = try count(GraphField.initializer, of: message)
    var reader = message
    while let field = try reader.next() {
      switch field.number {
      case GraphField.node:
        try appendNode(reader.message(field), to: &output)
      case GraphField.initializer:
        let tensor = try reader.message(field)
        let name = try string(TensorField.name, of: tensor)
        if let new = changed[name] {
          var contents = try encoder.tensor(new)
          try appendFields(of: tensor, except: TensorField.encoded, to: &contents)
          output.message(GraphField.initializer, contents)
          placed.insert(name)
        } else if !edit.removedInitializers.contains(name) {
          output.message(GraphField.initializer, try copy(tensor, as: .tensor))
        }
        remaining -= 1
        if remaining == 0 { try appendInitializers(except: &placed, to: &output) }
      case GraphField.sparseInitializer:
        let tensor = try reader.message(field)
        let name = try sparseTensorName(tensor)
        if changed[name] == nil && !edit.removedInitializers.contains(name) {
          output.message(GraphField.sparseInitializer, try copy(tensor, as: .sparseTensor))
        }
      case GraphField.input, GraphField.valueInfo:
        try appendInfo(field, reader.message(field), to: &output)
      default:
        try reader.skip(field)
        append(field.start..<reader.position, to: &output)
      }
    }
    try appendInitializers(except: &placed, to: &output)
    if irVersion < 4 {
      // Before IR 4 every initializer is an input as well.
      let listed = Set(model.graph.inputs.map(\.name))
      for initializer in edit.initializers where !listed.contains(initializer.name) {
        output.message(GraphField.input, encoder.valueInfo(ValueInfo(of: initializer)))
      }
    }
    return output
  }

  private mutating func appendNode(_ message: WireReader, to output: inout WireWriter) throws(CetError) {
    guard !isInFunction, let replacement = edit.replacedNodes[try firstOutput(of: message)] else {
      return try appendRaised(message, to: &output, as: GraphField.node)
    }
    try append(raise?.raised(replacement, from: version) ?? replacement, inPlaceOf: message, to: &output, as: GraphField.node)
  }

  /// A node that the edit does not name, written anew only if a later operator set asks for it.
  private mutating func appendRaised(_ message: WireReader, to output: inout WireWriter, as field: Int) throws(CetError) {
    if let raise {
      let type = try string(NodeField.operatorType, of: message)
      if raise.changes(type, domain: canonicalDomain(try string(NodeField.domain, of: message)), from: version) {
        var reader = ModelReader(source: source, external: nil)
        return try append(raise.raised(reader.node(message), from: version), inPlaceOf: message, to: &output, as: field)
      }
    }
    output.message(field, try copy(message, as: .node))
  }

  /// Nodes that take the place of one. The first that is still that node, with other values or attributes, keeps all the rest
  /// of it: texts, unknown fields, and the attributes that are what they were. Where none is, as of a product that became a kernel, the
  /// first of its name keeps texts and unknown fields.
  private mutating func append(
    _ nodes: [Node], inPlaceOf message: WireReader, to output: inout WireWriter, as field: Int
  ) throws(CetError) {
    var model = ModelReader(source: source, external: nil)
    let old = try model.node(message)
    let heir = nodes.firstIndex { ($0.operatorType, $0.domain, $0.name) == (old.operatorType, old.domain, old.name) }
    let namesake = heir == nil ? nodes.firstIndex { $0.name == old.name } : nil
    for (index, node) in nodes.enumerated() {
      var encoded = try index == heir ? changed(message, of: old, to: node) : encoder.node(node)
      if index == namesake { try appendFields(of: message, except: NodeField.encoded, to: &encoded) }
      output.message(field, encoded)
    }
  }

  private mutating func changed(_ message: WireReader, of old: Node, to new: Node) throws(CetError) -> WireWriter {
    var anew = new
    var kept = WireWriter()
    var reader = message
    while let field = try reader.next() {
      guard field.number == NodeField.attribute else {
        try reader.skip(field)
        continue
      }
      let attribute = try reader.message(field)
      let name = try string(AttributeField.name, of: attribute)
      guard let before = old.attributes[name], let after = new.attributes[name], before.isWritten(as: after) else { continue }
      kept.message(field.number, try copy(attribute, as: .attribute))
      anew.attributes[name] = nil
    }
    var output = try encoder.node(anew)
    output.append(kept)
    try appendFields(of: message, except: NodeField.encoded, to: &output)
    return output
  }

  /// A branch or body: its nodes as in the main graph, without the initializers that the main graph has now.
  private mutating func innerGraph(_ message: WireReader) throws(CetError) -> WireWriter {
    var output = WireWriter()
    var reader = message
    while let field = try reader.next() {
      switch field.number {
      case GraphField.node:
        try appendNode(reader.message(field), to: &output)
      case GraphField.initializer:
        let tensor = try reader.message(field)
        let name = try string(TensorField.name, of: tensor)
        if isInFunction || changed[name] == nil && !edit.removedInitializers.contains(name) {
          output.message(GraphField.initializer, try copy(tensor, as: .tensor))
        }
      case GraphField.sparseInitializer:
        let tensor = try reader.message(field)
        let name = try sparseTensorName(tensor)
        if isInFunction || changed[name] == nil && !edit.removedInitializers.contains(name) {
          output.message(field.number, try copy(tensor, as: .sparseTensor))
        }
      default:
        try reader.skip(field)
        append(field.start..<reader.position, to: &output)
      }
    }
    return output
  }

  /// The edit's initializers that take no place of an old one.
  private mutating func appendInitializers(except placed: inout Set<String>, to output: inout WireWriter) throws(CetError) {
    for initializer in edit.initializers where placed.insert(initializer.name).inserted {
      output.message(GraphField.initializer, try encoder.tensor(initializer))
    }
  }

  /// A graph input or an inner value's description, unless it belongs to an initializer that is gone or has
  /// another type or shape now.
  private func appendInfo(_ field: WireField, _ message: WireReader, to output: inout WireWriter) throws(CetError) {
    let name = try string(ValueInfoField.name, of: message)
    let isInput = field.number == GraphField.input
    if let new = changed[name] {
      let reader = ModelReader(source: source, external: nil)
      if try !reader.valueInfo(message).describes(new.tensor) {
        if isInput { output.message(field.number, encoder.valueInfo(ValueInfo(of: new))) }
        return
      }
    } else if isInput && edit.removedInitializers.contains(name) {
      return
    }
    append(field.start..<message.end, to: &output)
  }

  // MARK: Copying

  /// Texts and unknown fields of a message that is written anew.
  private func appendFields(of message: WireReader, except written: Set<Int>, to output: inout WireWriter) throws(CetError) {
    var reader = message
    while let field = try reader.next() {
      try reader.skip(field)
      if !written.contains(field.number) { append(field.start..<reader.position, to: &output) }
    }
  }

  private func append(_ range: Range<Int>, to output: inout WireWriter) {
    output.append(borrowing: source.slice(range), keeper: source)
  }

  /// A message as it is, except that external tensors within take their data along, and for what the edit names.
  private mutating func copy(_ message: WireReader, as kind: MessageKind) throws(CetError) -> WireWriter {
    if editsSubgraphs, kind == .graph { return try innerGraph(message) }
    var output = WireWriter()
    let range = message.position..<message.end
    let first = firstExternal(in: range)
    guard first != nil || (editsSubgraphs && kind.leadsToGraphs) else {
      append(range, to: &output)
      return output
    }
    let isTensor = kind == .tensor
    var reader = message
    while let field = try reader.next() {
      if let child = kind.child(field.number) {
        output.message(field.number, try copy(reader.message(field), as: child))
        continue
      }
      try reader.skip(field)
      if isTensor && MessageKind.dataFields.contains(field.number) { continue }
      append(field.start..<reader.position, to: &output)
    }
    if isTensor, let first {
      var raw = WireWriter()
      raw.append(borrowing: first.data.bytes, keeper: first.data)
      encoder.data(raw, into: &output)
    }
    return output
  }

  private func firstExternal(in range: Range<Int>) -> ExternalTensor? {
    var (low, high) = (0, externalTensors.count)
    while low < high {
      let middle = (low + high) / 2
      if externalTensors[middle].message.lowerBound < range.lowerBound { low = middle + 1 } else { high = middle }
    }
    guard low < externalTensors.count, externalTensors[low].message.upperBound <= range.upperBound else { return nil }
    return externalTensors[low]
  }
}

/// The messages that can hold tensors, and through which fields.
private enum MessageKind {
  case graph, node, attribute, tensor, sparseTensor, function

  /// Whether branches or bodies can lie within.
  var leadsToGraphs: Bool { self == .graph || self == .node || self == .attribute }

  /// Fields of a TensorProto that say where its data is.
  static let dataFields: Set<Int> = [TensorField.rawData, TensorField.externalData, TensorField.dataLocation]

  func child(_ field: Int) -> MessageKind? {
    switch (self, field) {
    case (.graph, GraphField.node), (.function, FunctionField.node): .node
    case (.graph, GraphField.initializer): .tensor
    case (.graph, GraphField.sparseInitializer): .sparseTensor
    case (.node, NodeField.attribute), (.function, FunctionField.attributeDefault): .attribute
    case (.attribute, AttributeField.tensor), (.attribute, AttributeField.tensors): .tensor
    case (.attribute, AttributeField.graph), (.attribute, AttributeField.graphs): .graph
    case (.attribute, AttributeField.sparseTensor), (.attribute, AttributeField.sparseTensors): .sparseTensor
    case (.sparseTensor, SparseTensorField.values), (.sparseTensor, SparseTensorField.indices): .tensor
    default: nil
    }
  }
}
