import CetTensor

/// How a field's value is encoded. No field of ONNX is a group of old protobuf; unknown ones may be.
enum WireType: UInt8 {
  case varint = 0
  case fixed64 = 1
  case bytes = 2
  case group = 3
  case groupEnd = 4
  case fixed32 = 5
}

/// A field's tag: what follows is its value.
struct WireField {
  /// 0 for a field that its message does not have in this encoding.
  let number: Int
  let type: WireType
  /// The number that stands in the file.
  let writtenNumber: Int
  /// Offset of the tag itself in the file.
  let start: Int
}

/// Reads the fields of one protobuf message in place. Offsets count from the start of the file, so that an
/// error and a copied range say where; every read is checked against the end of the message. What is a message and what is
/// not follows libprotobuf to the byte (Tests/CetONNXTests/JudgeTests.swift).
struct WireReader {
  /// libprotobuf's own limit: files that nest deeper do not open elsewhere either.
  static let maximumDepth = 100

  let base: UnsafeRawPointer
  private(set) var end: Int
  private(set) var position: Int
  /// Further parts of the same message, each a whole number of fields.
  private var parts: [Range<Int>] = []
  private let depth: Int
  /// nil: any field is known by its number, in any encoding.
  private let schema: Schema?

  /// `range` must lie within the memory at `base`.
  init(_ base: UnsafeRawPointer, _ range: Range<Int>, _ schema: Schema? = nil, depth: Int = 0) {
    self.base = base
    position = range.lowerBound
    end = range.upperBound
    self.schema = schema
    self.depth = depth
  }

  /// Whether the message stands in one piece.
  var isWhole: Bool { parts.isEmpty }

  /// The next tag, nil at the end of the message.
  mutating func next() throws(CetError) -> WireField? {
    while position == end, let part = parts.first {
      (position, end) = (part.lowerBound, part.upperBound)
      parts.removeFirst()
    }
    guard position < end else { return nil }
    let field = try tag()
    guard field.type != .groupEnd else {
      throw CetError(.invalidModel, "byte \(field.start): a group ends that did not begin")
    }
    return field
  }

  private mutating func tag() throws(CetError) -> WireField {
    let start = position
    let tag = UInt32(truncatingIfNeeded: try varint(longest: 5))
    let number = Int(tag >> 3)
    guard number != 0 else { throw CetError(.invalidModel, "byte \(start): \(tag) is not a protobuf tag") }
    guard let type = WireType(rawValue: UInt8(tag & 7)) else {
      throw CetError(.invalidModel, "byte \(start): expected wire type 0 to 5 for field \(number), got \(tag & 7)")
    }
    let isKnown = schema == nil || schema?.encoding(of: number)?.accepts(type) == true
    return WireField(number: isKnown ? number : 0, type: type, writtenNumber: number, start: start)
  }

  /// A bare varint: a value, or an element of a packed field. Bits beyond 64 do not count.
  mutating func varint() throws(CetError) -> UInt64 { try varint(longest: 10) }

  /// Tags and lengths have fewer bytes.
  private mutating func varint(longest: UInt64) throws(CetError) -> UInt64 {
    let start = position
    var result: UInt64 = 0
    var shift: UInt64 = 0
    while position < end {
      let byte = base.load(fromByteOffset: position, as: UInt8.self)
      position += 1
      result |= UInt64(byte & 0x7F) << shift
      if byte < 0x80 { return result }
      shift += 7
      guard shift < 7 * longest else {
        throw CetError(.invalidModel, "byte \(start): a varint is longer than \(longest) bytes")
      }
    }
    throw CetError(.invalidModel, "byte \(start): a varint passes the end of its message at byte \(end)")
  }

  /// The value of an `int64` field.
  mutating func integer(_ field: WireField) throws(CetError) -> Int64 {
    try expect(.varint, field)
    return Int64(bitPattern: try varint())
  }

  /// The value of an `int32` or enumeration field, which is the low half of what is written.
  mutating func integer32(_ field: WireField) throws(CetError) -> Int32 { Int32(truncatingIfNeeded: try integer(field)) }

  /// The value of a `float` field.
  mutating func float(_ field: WireField) throws(CetError) -> Float {
    try expect(.fixed32, field)
    let range = try take(4, field)
    return base.loadUnaligned(fromByteOffset: range.lowerBound, as: Float.self)
  }

  /// The contents of a length-delimited field (bytes, string, message, packed numbers).
  mutating func bytes(_ field: WireField) throws(CetError) -> Range<Int> {
    try expect(.bytes, field)
    let length = try varint(longest: 5)
    return try take(length, field)
  }

  /// The text of a string field.
  mutating func string(_ field: WireField) throws(CetError) -> String {
    let range = try bytes(field)
    try SystemMemory.checkRoom(for: range.count)
    guard
      let text = String(
        validating: UnsafeRawBufferPointer(start: base + range.lowerBound, count: range.count), as: UTF8.self)
    else {
      throw CetError(.invalidModel, "byte \(range.lowerBound): expected UTF-8 text in field \(field.writtenNumber)")
    }
    return text
  }

  /// A reader over the contents of a nested message.
  mutating func message(_ field: WireField) throws(CetError) -> WireReader {
    let range = try bytes(field)
    try checkDepth(depth, field)
    guard case .message(let inner) = schema?.encoding(of: field.number) else {
      return WireReader(base, range, depth: depth + 1)
    }
    return WireReader(base, range, inner, depth: depth + 1)
  }

  /// The same for a field that occurs once: given more than once, its messages are one, a part after the other.
  mutating func message(_ field: WireField, after earlier: WireReader?) throws(CetError) -> WireReader {
    let later = try message(field)
    guard var whole = earlier else { return later }
    whole.parts.append(later.position..<later.end)
    return whole
  }

  private func checkDepth(_ depth: Int, _ field: WireField) throws(CetError) {
    guard depth < WireReader.maximumDepth else {
      throw CetError(
        .invalidModel, "byte \(field.start): messages nest deeper than \(WireReader.maximumDepth) levels")
    }
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
    case .group: try skipGroup(field, depth: depth)
    case .groupEnd: break
    }
  }

  private mutating func skipGroup(_ field: WireField, depth: Int) throws(CetError) {
    try checkDepth(depth, field)
    while position < end {
      let inner = try tag()
      switch inner.type {
      case .group: try skipGroup(inner, depth: depth + 1)
      case .groupEnd:
        guard inner.writtenNumber == field.writtenNumber else {
          throw CetError(.invalidModel, "byte \(inner.start): a group ends that did not begin")
        }
        return
      default: try skip(inner)
      }
    }
    throw CetError(.invalidModel, "byte \(field.start): group \(field.writtenNumber) does not end")
  }

  /// How much there is to be read in a message and in those within.
  struct Contents {
    /// Messages, strings and runs of bytes.
    var parts = 0
    /// Numbers by themselves, and integers of packed fields.
    var numbers = 0

    /// An upper bound of what the library's values of them take, graph and what it is looked up by included: models of nodes,
    /// initializers, inputs, names, functions or metadata alone were read with less. Contents of tensors are asked for by themselves.
    var byteCount: Int { .saturatingSum(.saturatingProduct(parts, 256), .saturatingProduct(numbers, 32)) }
  }

  /// Walks the message and every message within to their ends: what no protobuf parser reads is found before anything is made
  /// of it, also in fields that nobody asks for.
  mutating func checkEncoding() throws(CetError) -> Contents {
    var contents = Contents()
    while let field = try next() {
      if field.type == .bytes { contents.parts += 1 } else { contents.numbers += 1 }
      switch schema?.encoding(of: field.number) {
      case .message:
        var inner = try message(field)
        let found = try inner.checkEncoding()
        contents.parts += found.parts
        contents.numbers += found.numbers
      case .varints where field.type == .bytes:
        var packed = WireReader(base, try bytes(field))
        while packed.position < packed.end {
          _ = try packed.varint()
          contents.numbers += 1
        }
      case .fixed32s where field.type == .bytes: try checkPacked(4, field)
      case .fixed64s where field.type == .bytes: try checkPacked(8, field)
      default: try skip(field)
      }
    }
    return contents
  }

  private mutating func checkPacked(_ width: Int, _ field: WireField) throws(CetError) {
    let range = try bytes(field)
    guard range.count % width == 0 else {
      throw CetError(
        .invalidModel,
        "byte \(range.lowerBound): packed numbers of \(width) bytes need a multiple of that, got \(range.count)")
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
        "byte \(field.start): expected wire type \(type.rawValue) for field \(field.writtenNumber), got \(field.type.rawValue)"
      )
    }
  }

  private mutating func take(_ length: UInt64, _ field: WireField) throws(CetError) -> Range<Int> {
    guard length <= UInt64(end - position) else {
      throw CetError(
        .invalidModel,
        "byte \(field.start): field \(field.writtenNumber) has \(length) bytes, its message only \(end - position) more")
    }
    let start = position
    position += Int(length)
    return start..<position
  }
}
