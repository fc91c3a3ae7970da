import CetTensor

extension JSON {
  /// Reads one document (RFC 8259, nothing beyond it: no comments, no trailing commas, no duplicate names, no NaN).
  /// Errors are `invalidArgument` with line and column.
  public static func parse(_ text: String) throws(CetError) -> JSON {
    try text.utf8.span.withUnsafeBytes(parse)
  }

  public static func parse(_ bytes: UnsafeRawBufferPointer) throws(CetError) -> JSON {
    var reader = JSONReader(bytes: bytes)
    return try reader.document()
  }
}

/// A recursive-descent reader; the depth limit bounds its stack.
private struct JSONReader {
  static let maximumDepth = 128
  /// Bytes between two looks at the memory that is left, and at whether to go on: their values take less than what is kept for the
  /// uncounted.
  private static let bytesBetweenLooks = 1 << 13
  private static let fewMembers = 8
  let bytes: UnsafeRawBufferPointer
  var position = 0
  private var values = 0
  private var looked = 0

  init(bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  mutating func document() throws(CetError) -> JSON {
    try FileWatch.expect(bytes.count, .reading)
    let value = try self.value(depth: 0)
    skipSpace()
    guard position == bytes.count else { throw error("expected the end of the document") }
    // What is made of the values takes no more than they do.
    try SystemMemory.checkRoom(for: .saturatingProduct(values, 64))
    return value
  }

  private func error(_ text: String, at place: Int? = nil) -> CetError {
    var line = 1
    var column = 1
    for index in 0..<min(place ?? position, bytes.count) {
      if bytes[index] == 0x0A {
        line += 1
        column = 1
      } else if bytes[index] & 0xC0 != 0x80 {
        column += 1
      }
    }
    return CetError(.invalidArgument, "JSON line \(line), column \(column): \(text)")
  }

  @inline(__always)
  private mutating func look() throws(CetError) {
    guard position - looked >= JSONReader.bytesBetweenLooks else { return }
    try SystemMemory.checkHeadroom()
    try FileWatch.passed(position - looked, .reading)
    looked = position
  }

  private var byte: UInt8? { position < bytes.count ? bytes[position] : nil }

  private mutating func skipSpace() {
    while let byte, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { position += 1 }
  }

  private mutating func take(_ scalar: Unicode.Scalar) -> Bool {
    guard byte == UInt8(ascii: scalar) else { return false }
    position += 1
    return true
  }

  private mutating func value(depth: Int) throws(CetError) -> JSON {
    guard depth < JSONReader.maximumDepth else { throw error("nested deeper than \(JSONReader.maximumDepth)") }
    values += 1
    try look()
    skipSpace()
    switch byte {
    case nil: throw error("expected a value, found the end")
    case UInt8(ascii: "{"): return try object(depth: depth)
    case UInt8(ascii: "["): return try array(depth: depth)
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: "t"): return try word("true", .bool(true))
    case UInt8(ascii: "f"): return try word("false", .bool(false))
    case UInt8(ascii: "n"): return try word("null", .null)
    default: return try number()
    }
  }

  private mutating func word(_ text: String, _ value: JSON) throws(CetError) -> JSON {
    let start = position
    for expected in text.utf8 {
      guard byte == expected else { throw error("expected a value", at: start) }
      position += 1
    }
    return value
  }

  private mutating func object(depth: Int) throws(CetError) -> JSON {
    position += 1
    var members: [JSON.Member] = []
    // Of a short object the names are compared one by one.
    var names: Set<String>?
    skipSpace()
    if take("}") { return .object(members) }
    while true {
      skipSpace()
      let start = position
      guard byte == UInt8(ascii: "\"") else { throw error("expected a member name") }
      let name = try string()
      if names == nil, members.count == JSONReader.fewMembers { names = Set(members.map(\.name)) }
      guard names?.insert(name).inserted ?? !members.contains(where: { $0.name == name }) else {
        throw error("member '\(name)' appears twice", at: start)
      }
      skipSpace()
      guard take(":") else { throw error("expected ':'") }
      // The set of names grows at about the same times.
      try SystemMemory.checkGrowth(of: members, bytes: MemoryLayout<JSON.Member>.stride + 3 * MemoryLayout<String>.stride)
      members.append(.init(name, try value(depth: depth + 1)))
      skipSpace()
      if take("}") { return .object(members) }
      guard take(",") else { throw error("expected ',' or '}'") }
    }
  }

  private mutating func array(depth: Int) throws(CetError) -> JSON {
    position += 1
    var items: [JSON] = []
    skipSpace()
    if take("]") { return .array(items) }
    while true {
      try SystemMemory.checkGrowth(of: items)
      items.append(try value(depth: depth + 1))
      skipSpace()
      if take("]") { return .array(items) }
      guard take(",") else { throw error("expected ',' or ']'") }
    }
  }

  private mutating func number() throws(CetError) -> JSON {
    let start = position
    func digits(_ reader: inout JSONReader) -> Int {
      let first = reader.position
      while let byte = reader.byte, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) { reader.position += 1 }
      return reader.position - first
    }
    _ = take("-")
    let leadingZero = byte == UInt8(ascii: "0")
    let whole = digits(&self)
    guard whole > 0 else { throw error("expected a value", at: start) }
    guard !leadingZero || whole == 1 else { throw error("a number may not start with 0", at: start) }
    if take(".") {
      guard digits(&self) > 0 else { throw error("expected a digit") }
    }
    let hasExponent = take("e") || take("E")
    if hasExponent {
      if !take("+") { _ = take("-") }
      guard digits(&self) > 0 else { throw error("expected a digit") }
    }
    let literal = String(decoding: bytes[start..<position], as: UTF8.self)
    // A short one without an exponent is in range.
    guard !hasExponent && position - start < 300 || Double(literal)?.isFinite == true else {
      throw error("number out of range", at: start)
    }
    return .number(literal)
  }

  private mutating func string() throws(CetError) -> String {
    let start = position
    position += 1
    // What stands before the first escape, which is the whole of most strings, is taken at once.
    var text: [UInt8] = []
    while true {
      let plain = position
      while let byte, byte >= 0x20, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\") {
        position += 1
        if position % (1 << 20) == 0 { try look() }
      }
      try look()
      guard let byte else { throw error("string without end", at: start) }
      guard byte >= 0x20 else { throw error("control character in a string") }
      let run = bytes[plain..<position]
      position += 1
      if byte == UInt8(ascii: "\""), text.isEmpty { return try self.text(run, from: start) }
      // An escape has four bytes at most.
      if text.count + run.count + 4 > text.capacity { try SystemMemory.checkRoom(for: 2 * (text.count + run.count)) }
      text += run
      if byte == UInt8(ascii: "\"") { return try self.text(text, from: start) }
      text += Array(String(try escape()).utf8)
    }
  }

  private func text(_ bytes: some Collection<UInt8>, from start: Int) throws(CetError) -> String {
    try SystemMemory.checkRoom(for: bytes.count)
    guard let text = String(validating: bytes, as: UTF8.self) else { throw error("invalid UTF-8", at: start) }
    return text
  }

  private mutating func escape() throws(CetError) -> Unicode.Scalar {
    let start = position - 1
    guard let byte else { throw error("string without end") }
    position += 1
    switch byte {
    case UInt8(ascii: "\""): return "\""
    case UInt8(ascii: "\\"): return "\\"
    case UInt8(ascii: "/"): return "/"
    case UInt8(ascii: "b"): return "\u{8}"
    case UInt8(ascii: "f"): return "\u{c}"
    case UInt8(ascii: "n"): return "\n"
    case UInt8(ascii: "r"): return "\r"
    case UInt8(ascii: "t"): return "\t"
    case UInt8(ascii: "u"):
      let first = try hexadecimal()
      if let scalar = Unicode.Scalar(first) { return scalar }
      // What is no scalar is half of a surrogate pair.
      guard first < 0xDC00, take("\\"), take("u") else { throw error("unpaired surrogate", at: start) }
      let second = try hexadecimal()
      guard (0xDC00..<0xE000).contains(second),
        let scalar = Unicode.Scalar(0x10000 + (first - 0xD800) << 10 + (second - 0xDC00))
      else { throw error("unpaired surrogate", at: start) }
      return scalar
    default: throw error("unknown escape", at: start)
    }
  }

  private mutating func hexadecimal() throws(CetError) -> UInt32 {
    var value: UInt32 = 0
    for _ in 0..<4 {
      guard let byte, let digit = Character(Unicode.Scalar(byte)).hexDigitValue, byte < 0x80 else {
        throw error("expected four hexadecimal digits")
      }
      value = value << 4 | UInt32(digit)
      position += 1
    }
    return value
  }
}
