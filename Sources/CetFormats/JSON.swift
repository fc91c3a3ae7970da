import CetTensor

/// A JSON value. Numbers keep their literal, so that 64-bit integers and doubles both survive exactly, and
/// objects keep the order of their members.
public enum JSON: Sendable, Equatable {
  case null
  case bool(Bool)
  /// A literal of JSON's number grammar.
  case number(String)
  case string(String)
  case array([JSON])
  case object([Member])

  public struct Member: Sendable, Equatable {
    public var name: String
    public var value: JSON

    public init(_ name: String, _ value: JSON) {
      self.name = name
      self.value = value
    }
  }

  /// The shortest literal that reads back as the same double; null for NaN and infinities, which JSON lacks.
  public static func double(_ value: Double?) -> JSON {
    guard let value, value.isFinite else { return .null }
    if value == value.rounded(), abs(value) < 1e15, !(value == 0 && value.sign == .minus) {
      return .number(String(Int64(value)))
    }
    return .number(value.description)
  }

  public static func integer<Value: FixedWidthInteger>(_ value: Value?) -> JSON {
    guard let value else { return .null }
    return .number(String(value))
  }

  public static func text(_ value: String?) -> JSON {
    guard let value else { return .null }
    return .string(value)
  }

  /// The document. `indented` gives each member a line where a container holds others, or an object many members;
  /// otherwise everything is on one line without spaces.
  public func serialized(indented: Bool = true) -> String {
    var writer = JSONWriter(indented: indented)
    writer.write(self, depth: 0)
    if indented { writer.out.append(UInt8(ascii: "\n")) }
    return String(decoding: writer.out, as: UTF8.self)
  }
}

private struct JSONWriter {
  let indented: Bool
  var out: [UInt8] = []

  mutating func write(_ value: JSON, depth: Int) {
    switch value {
    case .null: put("null")
    case .bool(let value): put(value ? "true" : "false")
    case .number(let literal): put(literal)
    case .string(let text): write(text)
    case .array(let items):
      list(items, "[", "]", depth: depth, broken: items.contains(where: isContainer)) { $0.write($1, depth: depth + 1) }
    case .object(let members):
      let broken = members.count > 4 || depth == 0 || members.contains { isContainer($0.value) }
      list(members, "{", "}", depth: depth, broken: broken) {
        $0.write($1.name)
        $0.put($0.indented ? ": " : ":")
        $0.write($1.value, depth: depth + 1)
      }
    }
  }

  private func isContainer(_ value: JSON) -> Bool {
    switch value {
    case .array(let items): !items.isEmpty
    case .object(let members): !members.isEmpty
    default: false
    }
  }

  private mutating func put(_ text: String) { out += Array(text.utf8) }

  private mutating func list<Item>(
    _ items: [Item], _ open: String, _ close: String, depth: Int, broken: Bool,
    item: (inout JSONWriter, Item) -> Void
  ) {
    let broken = broken && indented && !items.isEmpty
    put(open)
    for (index, element) in items.enumerated() {
      if index > 0 { put(broken || !indented ? "," : ", ") }
      if broken { newLine(depth + 1) }
      item(&self, element)
    }
    if broken { newLine(depth) }
    put(close)
  }

  private mutating func newLine(_ depth: Int) {
    out.append(0x0A)
    out += [UInt8](repeating: 0x20, count: 2 * depth)
  }

  private mutating func write(_ text: String) {
    let hex = Array("0123456789abcdef".utf8)
    put("\"")
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "\""): put("\\\"")
      case UInt8(ascii: "\\"): put("\\\\")
      case 0x0A: put("\\n")
      case 0x0D: put("\\r")
      case 0x09: put("\\t")
      case 0..<0x20, 0x7F:
        put("\\u00")
        out += [hex[Int(byte >> 4)], hex[Int(byte & 15)]]
      default: out.append(byte)
      }
    }
    put("\"")
  }
}
