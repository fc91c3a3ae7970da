import CetGraph
import CetTensor

/// The fields of an AttributeProto as they lie in the file; `type` says which of them counts.
private struct AttributeFields {
  var name = ""
  var type: Int64 = 0
  /// A type is given that onnx.proto does not have; protobuf parsers put it aside.
  var isOfNewerType = false
  var reference = ""
  var float: Float?
  var int: Int64?
  var string: [UInt8]?
  var tensor: WireReader?
  var graph: WireReader?
  var floats: [Float] = []
  var ints: [Int64] = []
  var strings: [[UInt8]] = []
  var tensors: [WireReader] = []
  var graphs: [WireReader] = []
  var sparseTensor: WireReader?

  /// Files of early writers give no type: it follows from the one field that is there.
  var effectiveType: Int64 {
    if type != 0 || isOfNewerType { return type }
    if float != nil { return AttributeKind.float }
    if int != nil { return AttributeKind.int }
    if string != nil { return AttributeKind.string }
    if tensor != nil { return AttributeKind.tensor }
    if graph != nil { return AttributeKind.graph }
    if !floats.isEmpty { return AttributeKind.floats }
    if !ints.isEmpty { return AttributeKind.ints }
    if !strings.isEmpty { return AttributeKind.strings }
    if !tensors.isEmpty { return AttributeKind.tensors }
    if !graphs.isEmpty { return AttributeKind.graphs }
    if sparseTensor != nil { return AttributeKind.sparseTensor }
    return 0
  }
}

extension ModelReader {
  mutating func attribute(_ message: WireReader) throws(CetError) -> (name: String, value: Attribute) {
    let fields = try attributeFields(message)
    guard !fields.name.isEmpty else {
      throw CetError(.invalidModel, "the attribute at byte \(message.position) has no name")
    }
    do {
      return (fields.name, try value(fields))
    } catch {
      throw error.at(.attribute(fields.name))
    }
  }

  private mutating func attributeFields(_ message: WireReader) throws(CetError) -> AttributeFields {
    var reader = message
    var fields = AttributeFields()
    while let field = try reader.next() {
      switch field.number {
      case AttributeField.name: fields.name = try reader.string(field)
      case AttributeField.type:
        let type = Int64(try reader.integer32(field))
        if AttributeKind.all.contains(type) { fields.type = type } else { fields.isOfNewerType = true }
      case AttributeField.reference: fields.reference = try reader.string(field)
      case AttributeField.float: fields.float = try reader.float(field)
      case AttributeField.int: fields.int = try reader.integer(field)
      case AttributeField.string: fields.string = Array(source.slice(try reader.bytes(field)))
      case AttributeField.tensor: fields.tensor = try reader.message(field, after: fields.tensor)
      case AttributeField.graph: fields.graph = try reader.message(field, after: fields.graph)
      case AttributeField.floats: try reader.appendFloats(field, to: &fields.floats)
      case AttributeField.ints: try reader.appendIntegers(field, to: &fields.ints)
      case AttributeField.strings: fields.strings.append(Array(source.slice(try reader.bytes(field))))
      case AttributeField.tensors: fields.tensors.append(try reader.message(field))
      case AttributeField.graphs: fields.graphs.append(try reader.message(field))
      case AttributeField.sparseTensor: 
        fields.sparseTensor = try reader.message(field, after: fields.sparseTensor)
      case AttributeField.sparseTensors: _ = try sparseTensor(reader.message(field))
      default: try reader.skip(field)
      }
    }
    return fields
  }

  /// A value that proto3 writers leave out because it is zero or empty reads as zero or empty.
  private mutating func value(_ fields: AttributeFields) throws(CetError) -> Attribute {
    if !fields.reference.isEmpty { return .reference(fields.reference) }
    switch fields.effectiveType {
    case AttributeKind.float: return .float(fields.float ?? 0)
    case AttributeKind.int: return .int(fields.int ?? 0)
    case AttributeKind.string: return .string(fields.string ?? [])
    case AttributeKind.floats: return .floats(fields.floats)
    case AttributeKind.ints: return .ints(fields.ints)
    case AttributeKind.strings: return .strings(fields.strings)
    case AttributeKind.tensor:
      guard let message = fields.tensor else { throw CetError(.invalidModel, "the tensor is missing") }
      return try constant(message).map(Attribute.tensor) ?? .opaque
    case AttributeKind.tensors:
      var tensors: [Initializer] = []
      var isOpaque = false
      for message in fields.tensors {
        if let tensor = try constant(message) { tensors.append(tensor) } else { isOpaque = true }
      }
      return isOpaque ? .opaque : .tensors(tensors)
    case AttributeKind.graph:
      guard let message = fields.graph else { throw CetError(.invalidModel, "the graph is missing") }
      return .graph(try graph(message))
    case AttributeKind.graphs:
      var graphs: [Graph] = []
      for message in fields.graphs { graphs.append(try graph(message)) }
      return .graphs(graphs)
    case AttributeKind.sparseTensor:
      guard let message = fields.sparseTensor else { throw CetError(.invalidModel, "the sparse tensor is missing") }
      let read = try sparseTensor(message)
      return read.tensor.map { .tensor(Initializer(name: read.name, tensor: $0)) } ?? .opaque
    default: return .opaque
    }
  }

  private mutating func constant(_ message: WireReader) throws(CetError) -> Initializer? {
    let read = try tensor(message)
    return read.tensor.map { Initializer(name: read.name, tensor: $0) }
  }

  // MARK: Value infos

  func valueInfo(_ message: WireReader) throws(CetError) -> ValueInfo {
    var reader = message
    var info = ValueInfo(name: "", type: nil, shape: nil)
    var type: WireReader?
    while let field = try reader.next() {
      switch field.number {
      case ValueInfoField.name: info.name = try reader.string(field)
      case ValueInfoField.type: type = try reader.message(field, after: type)
      default: try reader.skip(field)
      }
    }
    guard var type else { return info }
    var tensor: WireReader?
    while let field = try type.next() {
      switch field.number {
      case TypeField.tensor: tensor = try type.message(field, after: tensor)
      // Sequences, maps and optionals have no element type of their own. A type is one of them: the last that is given.
      case let other where TypeField.others.contains(other):
        try type.skip(field)
        tensor = nil
      default: try type.skip(field)
      }
    }
    if let tensor { (info.type, info.shape) = try tensorType(tensor) }
    return info
  }

  private func tensorType(_ message: WireReader) throws(CetError) -> (ElementType?, [ValueInfo.Dimension]?) {
    var reader = message
    var type: ElementType?
    var shape: WireReader?
    while let field = try reader.next() {
      switch field.number {
      case TypeField.elementType: type = ElementType(rawValue: try reader.integer32(field))
      case TypeField.shape: shape = try reader.message(field, after: shape)
      default: try reader.skip(field)
      }
    }
    guard var shape else { return (type, nil) }
    var sizes: [ValueInfo.Dimension] = []
    while let field = try shape.next() {
      if field.number == TypeField.dimension {
        sizes.append(try dimension(shape.message(field)))
      } else {
        try shape.skip(field)
      }
    }
    return (type, sizes)
  }

  /// Negative sizes and empty names are how some exporters write "unknown".
  private func dimension(_ message: WireReader) throws(CetError) -> ValueInfo.Dimension {
    var reader = message
    var result = ValueInfo.Dimension.unknown
    while let field = try reader.next() {
      switch field.number {
      case TypeField.dimensionValue:
        let size = try reader.integer(field)
        result = size < 0 ? .unknown : .fixed(Int(size))
      case TypeField.dimensionParameter:
        let name = try reader.string(field)
        result = name.isEmpty ? .unknown : .symbolic(name)
      default: try reader.skip(field)
      }
    }
    return result
  }
}
