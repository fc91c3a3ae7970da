import CetGraph
import CetTensor

/// A TensorProto: its name, and its contents unless they are of a type that the library does not know.
struct ReadTensor {
  var name: String
  var tensor: Tensor?
}

/// The fields of a TensorProto as they lie in the file.
private struct TensorFields {
  var name = ""
  var shape: [Int64] = []
  var dataType: Int32 = 0
  var raw: Range<Int>?
  var floats: [NumberRun] = []
  var doubles: [NumberRun] = []
  var int32s: [NumberRun] = []
  var int64s: [NumberRun] = []
  var uint64s: [NumberRun] = []
  var stringCount = 0
  var isExternal = false
  var external: [(key: String, value: String)] = []
}

extension ModelReader {
  mutating func tensor(_ reader: WireReader) throws(CetError) -> ReadTensor {
    let message = reader.position..<(reader.isWhole ? reader.end : reader.position)
    let fields = try tensorFields(reader)
    do {
      return ReadTensor(name: fields.name, tensor: try contents(fields, message))
    } catch {
      throw fields.name.isEmpty ? error : error.at(.initializer(fields.name))
    }
  }

  private func tensorFields(_ message: WireReader) throws(CetError) -> TensorFields {
    var reader = message
    var fields = TensorFields()
    func run(_ field: WireField) throws(CetError) -> NumberRun {
      NumberRun(range: try reader.valueRange(field), type: field.type)
    }
    while let field = try reader.next() {
      switch field.number {
      case TensorField.dims: try reader.appendIntegers(field, to: &fields.shape)
      case TensorField.dataType: fields.dataType = try reader.integer32(field)
      case TensorField.name: fields.name = try reader.string(field)
      case TensorField.rawData: fields.raw = try reader.bytes(field)
      case TensorField.floatData: fields.floats.append(try run(field))
      case TensorField.doubleData: fields.doubles.append(try run(field))
      case TensorField.int32Data: fields.int32s.append(try run(field))
      case TensorField.int64Data: fields.int64s.append(try run(field))
      case TensorField.uint64Data: fields.uint64s.append(try run(field))
      case TensorField.stringData:
        _ = try reader.bytes(field)
        fields.stringCount += 1
      case TensorField.dataLocation: 
        let location = try reader.integer32(field)
        if location == 0 || location == 1 { fields.isExternal = location == 1 }
      case TensorField.externalData: fields.external.append(try entry(reader.message(field)))
      case TensorField.segment:
        throw CetError(.invalidModel, "the tensor at byte \(message.position) has a segment, which is not supported")
      default: try reader.skip(field)
      }
    }
    return fields
  }

  private mutating func contents(_ fields: TensorFields, _ message: Range<Int>) throws(CetError) -> Tensor? {
    var shape: [Int] = []
    for size in fields.shape { shape.append(Int(size)) }
    guard let count = shape.validatedCount else {
      throw CetError(.invalidModel, "shape \(shape.shapeText) is negative or too large")
    }
    guard fields.dataType != 0 else { throw CetError(.invalidModel, "the element type is undefined") }
    let type = ElementType(rawValue: fields.dataType)
    if fields.isExternal {
      // The writer finds the message by its place.
      guard !message.isEmpty else { throw CetError(.invalidModel, "a tensor with external data is given in several parts") }
      let needed = type.map { TensorData.packedByteCount($0, count: count) }
      let external = try self.external(fields.external, needed: needed, message)
      guard let type else { return nil }
      guard type != .string else { throw CetError(.invalidModel, "strings cannot be external data") }
      return try TensorData.tensor(type, shape, raw: external.data.bytes, keeper: external.data)
    }
    guard let type else { return nil }
    return try inlineContents(fields, type, shape, count)
  }

  private func inlineContents(
    _ fields: TensorFields, _ type: ElementType, _ shape: [Int], _ count: Int
  ) throws(CetError) -> Tensor {
    if type == .string {
      guard fields.stringCount == count, fields.raw?.isEmpty ?? true else {
        throw CetError(
          .invalidModel, "string_data has \(fields.stringCount) strings, shape \(shape.shapeText) string needs \(count)"
        )
      }
      return try Tensor.zeros(.string, shape)
    }
    let runs: [NumberRun]
    let fieldName: String
    switch type {
    case .float32, .complex64: (runs, fieldName) = (fields.floats, "float_data")
    case .float64, .complex128: (runs, fieldName) = (fields.doubles, "double_data")
    case .int64: (runs, fieldName) = (fields.int64s, "int64_data")
    case .uint32, .uint64: (runs, fieldName) = (fields.uint64s, "uint64_data")
    default: (runs, fieldName) = (fields.int32s, "int32_data")
    }
    let typedBytes = runs.reduce(0) { $0 + $1.range.count }
    if let raw = fields.raw, !raw.isEmpty || typedBytes == 0 {
      guard typedBytes == 0 else { throw CetError(.invalidModel, "raw_data and \(fieldName) are both present") }
      let needed = TensorData.packedByteCount(type, count: count)
      guard raw.count == needed else {
        let subject = fields.name.isEmpty ? "the tensor" : "initializer '\(fields.name)'"
        let error = CetError(.invalidModel, "\(subject) has \(raw.count) bytes, shape \(shape.shapeText) \(type) needs \(needed)")
          .with(.expected, "\(needed) bytes").with(.got, "\(raw.count) bytes")
        throw fields.name.isEmpty ? error : error.with(.initializer, fields.name)
      }
      return try TensorData.tensor(type, shape, raw: source.slice(raw), keeper: source)
    }
    switch type {
    case .float32, .complex64, .float64, .complex128:
      return try TensorData.fixedWidth(type, shape, runs, in: source, fieldName: fieldName)
    default:
      return try TensorData.varints(type, shape, runs, in: source, fieldName: fieldName)
    }
  }

  /// Finds the bytes that external_data names and remembers them for the writer.
  private mutating func external(
    _ entries: [(key: String, value: String)], needed: Int?, _ message: Range<Int>
  ) throws(CetError) -> ExternalTensor {
    var location: String?
    var offset = 0
    var length: Int?
    for entry in entries {
      switch entry.key {
      case "location": location = entry.value
      case "offset": offset = try number(entry)
      case "length": length = try number(entry)
      default: break  // "checksum" and what later versions add
      }
    }
    guard let location else { throw CetError(.invalidModel, "external data has no location") }
    guard let external else {
      throw CetError(
        .invalidModel, "its data is in the file '\(location)', which a model loaded from memory cannot reach")
    }
    if let needed, let length, length != needed {
      throw CetError(.invalidModel, "external data '\(location)' has length \(length), its shape needs \(needed)")
    }
    let data = try external.data(location: location, offset: offset, length: length ?? needed)
    let tensor = ExternalTensor(message: message, offset: offset, data: data)
    externalTensors.append(tensor)
    return tensor
  }

  private func number(_ entry: (key: String, value: String)) throws(CetError) -> Int {
    guard let value = Int(entry.value), value >= 0 else {
      throw CetError(.invalidModel, "external data has \(entry.key) '\(entry.value)', expected a byte count")
    }
    return value
  }
}
