import CetTensor

/// How a field's value is encoded. The group types (3 and 4) of old protobuf never occur in ONNX.
enum WireType: UInt8 {
  case varint = 0
  case fixed64 = 1
  case bytes = 2
  case fixed32 = 5
}

/// A field's tag: what follows is its value.
struct WireField {
  let number: Int
  let type: WireType
  /// Offset of the tag itself in the file.
  let start: Int
}

/// Reads the fields of one protobuf message in place. Offsets count from the start of the file, so that an
/// error and a copied range say where; every read is checked against the end of the message.
struct WireReader {
  /// libprotobuf's own limit: files that nest deeper do not open elsewhere either.
  static let maximumDepth = 100

  let base: UnsafeRawPointer
  let end: Int
  private(set) var position: Int
  private let depth: Int

  /// `range` must lie within the memory at `base`.
  init(_ base: UnsafeRawPointer, _ range: Range<Int>, depth: Int = 0) {
    self.base = base
    position = range.lowerBound
    end = range.upperBound
    self.depth = depth
  }

  /// The next tag, nil at the end of the message.
  mutating func next() throws(CetError) -> WireField? {
    guard position < end else { return nil }
    let start = position
    let tag = try varint()
    guard tag <= UInt64(UInt32.max), tag >> 3 != 0 else {
      throw CetError(.invalidModel, "byte \(start): \(tag) is not a protobuf tag")
    }
    guard let type = WireType(rawValue: UInt8(tag & 7)) else {
      throw CetError(
        .invalidModel, "byte \(start): expected wire type 0, 1, 2 or 5 for field \(tag >> 3), got \(tag & 7)")
    }
    return WireField(number: Int(tag >> 3), type: type, start: start)
  }

  /// A bare varint, as a tag, a length or an element of a packed field is.
  mutating func varint() throws(CetError) -> UInt64 {
    let start = position
    var result: UInt64 = 0
    var shift: UInt64 = 0
    while position < end {
      let byte = base.load(fromByteOffset: position, as: UInt8.self)
      position += 1
      guard shift < 63 || byte <= 1 else {
        throw CetError(.invalidModel, "byte \(start): a varint is longer than 64 bits")
      }
      result |= UInt64(byte & 0x7F) << shift
      if byte < 0x80 { return result }
      shift += 7
    }
    throw CetError(.invalidModel, "byte \(start): a varint passes the end of its message at byte \(end)")
  }

  /// The value of an integer or enumeration field.
  mutating func integer(_ field: WireField) throws(CetError) -> Int64 {
    try expect(.varint, field)
    return Int64(bitPattern: try varint())
  }

  /// The value of a `float` field.
  mutating func float(_ field: WireField) throws(CetError) -> Float {
    try expect(.fixed32, field)
    let range = try take(4, field)
    return base.loadUnaligned(fromByteOffset: range.lowerBound, as: Float.self)
  }

  /// The contents of a length-delimited field (bytes, string, message, packed numbers).
  mutating func bytes(_ field: WireField) throws(CetError) -> Range<Int> {
    try expect(.bytes, field)
    let length = try varint()
    return try take(length, field)
  }

  /// The text of a string field.
  mutating func string(_ field: WireField) throws(CetError) -> String {
    let range = try bytes(field)
    guard
      let text = String(
        validating: UnsafeRawBufferPointer(start: base + range.lowerBound, count: range.count), as: UTF8.self)
    else {
      throw CetError(.invalidModel, "byte \(range.lowerBound): expected UTF-8 text in field \(field.number)")
    }
    return text
  }

  /// A reader over the contents of a nested message.
  mutating func message(_ field: WireField) throws(CetError) -> WireReader {
    let range = try bytes(field)
    guard depth < WireReader.maximumDepth else {
      throw CetError(
        .invalidModel, "byte \(field.start): messages nest deeper than \(WireReader.maximumDepth) levels")
    }
    return WireReader(base, range, depth: depth + 1)
  }

  /// Appends the values of a repeated integer field, packed or not.
  mutating func appendIntegers(_ field: WireField, to values: inout [Int64]) throws(CetError) {
    guard field.type == .bytes else { return values.append(try integer(field)) }
    let range = try bytes(field)
    var packed = WireReader(base, range, depth: depth)
    while packed.position < packed.end { values.append(Int64(bitPattern: try packed.varint())) }
  }

  /// Appends the values of a repeated `float` field, packed or not.
  mutating func appendFloats(_ field: WireField, to values: inout [Float]) throws(CetError) {
    guard field.type == .bytes else { return values.append(try float(field)) }
    let range = try bytes(field)
    guard range.count % 4 == 0 else {
      throw CetError(
        .invalidModel, "byte \(range.lowerBound): packed float32 numbers need a multiple of 4 bytes, got \(range.count)"
      )
    }
    for offset in stride(from: range.lowerBound, to: range.upperBound, by: 4) {
      values.append(base.loadUnaligned(fromByteOffset: offset, as: Float.self))
    }
  }

  /// Passes over the value of a field that nobody asks for.
  mutating func skip(_ field: WireField) throws(CetError) {
    switch field.type {
    case .varint: _ = try varint()
    case .fixed64: _ = try take(8, field)
    case .fixed32: _ = try take(4, field)
    case .bytes: _ = try bytes(field)
    }
  }

  /// The range of a fixed-width value or of a packed run, for readers that decode numbers in bulk.
  mutating func valueRange(_ field: WireField) throws(CetError) -> Range<Int> {
    if field.type == .bytes { return try bytes(field) }
    let start = position
    try skip(field)
    return start..<position
  }

  private func expect(_ type: WireType, _ field: WireField) throws(CetError) {
    guard field.type == type else {
      throw CetError(
        .invalidModel,
        "byte \(field.start): expected wire type \(type.rawValue) for field \(field.number), got \(field.type.rawValue)"
      )
    }
  }

  private mutating func take(_ length: UInt64, _ field: WireField) throws(CetError) -> Range<Int> {
    guard length <= UInt64(end - position) else {
      throw CetError(
        .invalidModel,
        "byte \(field.start): field \(field.number) has \(length) bytes, its message only \(end - position) more")
    }
    let start = position
    position += Int(length)
    return start..<position
  }
}
