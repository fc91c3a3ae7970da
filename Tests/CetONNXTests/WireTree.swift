import CetTensor

@testable import CetONNX

/// A message as a tree of fields that can be edited and written again.
struct Tree {
  struct Field {
    var tag: UInt64
    var contents: Contents
    /// Bytes of nothing that lengthen the tag, or the length or number after it.
    var extra = 0

    /// The same field twice with a part of the message each; itself where it is no message.
    func split(at place: Int) -> [Field] {
      guard case .message(let tree) = contents else { return [self] }
      let middle = min(place, tree.fields.count)
      return [Array(tree.fields[..<middle]), Array(tree.fields[middle...])].map { fields in
        Field(tag: tag, contents: .message(Tree(fields)))
      }
    }
  }

  indirect enum Contents {
    case varint(UInt64)
    case fixed([UInt8])
    case bytes([UInt8])
    case message(Tree)
    /// As it is to stand, whatever it is.
    case raw([UInt8])

    func adding(_ number: UInt64) -> Contents {
      if case .varint(let value) = self { return .varint(value &+ number) }
      return self
    }

    var asBytes: [UInt8]? {
      if case .bytes(let bytes) = self { return bytes }
      return nil
    }
  }

  var fields: [Field]

  init(_ fields: [Field]) { self.fields = fields }

  /// The tree of a model's file.
  init(_ bytes: [UInt8]) throws {
    self = try bytes.withUnsafeBytes { memory in
      guard let base = memory.baseAddress else { return Tree([Field]()) }
      return try Tree(WireReader(base, 0..<memory.count, .model), .model)
    }
  }

  private init(_ message: WireReader, _ schema: Schema?) throws {
    fields = []
    var reader = message
    while let field = try reader.next() {
      let tag = UInt64(field.writtenNumber) << 3 | UInt64(field.type.rawValue)
      let contents: Contents
      switch field.type {
      case .varint: contents = .varint(try reader.varint())
      case .bytes:
        if case .message(let inner) = schema?.encoding(of: field.number) {
          contents = .message(try Tree(reader.message(field), inner))
        } else {
          contents = .bytes(Tree.copy(try reader.bytes(field), of: reader))
        }
      default: contents = .fixed(Tree.copy(try reader.valueRange(field), of: reader))
      }
      fields.append(Field(tag: tag, contents: contents))
    }
  }

  private static func copy(_ range: Range<Int>, of reader: WireReader) -> [UInt8] {
    Array(UnsafeRawBufferPointer(start: reader.base + range.lowerBound, count: range.count))
  }

  /// Fields, those of messages within counted too.
  var count: Int {
    fields.reduce(0) { sum, field in
      if case .message(let tree) = field.contents { return sum + 1 + tree.count }
      return sum + 1
    }
  }

  /// Replaces the field of that index, in the order of the file.
  mutating func edit(_ index: Int, _ change: (Field) -> [Field]) {
    var rest = index
    for place in fields.indices {
      if rest == 0 {
        fields.replaceSubrange(place...place, with: change(fields[place]))
        return
      }
      rest -= 1
      guard case .message(var tree) = fields[place].contents else { continue }
      if rest < tree.count {
        tree.edit(rest, change)
        fields[place].contents = .message(tree)
        return
      }
      rest -= tree.count
    }
  }

  var bytes: [UInt8] {
    var result: [UInt8] = []
    for field in fields {
      // Half of the lengthened ones have a long tag, the others a long length or number.
      result += Tree.varint(field.tag, extra: field.extra % 2 == 0 ? field.extra : 0)
      let extra = field.extra % 2 == 0 ? 0 : field.extra
      switch field.contents {
      case .varint(let value): result += Tree.varint(value, extra: extra)
      case .fixed(let bytes), .raw(let bytes): result += bytes
      case .bytes(let bytes): result += Tree.varint(UInt64(bytes.count), extra: extra) + bytes
      case .message(let tree):
        let bytes = tree.bytes
        result += Tree.varint(UInt64(bytes.count), extra: extra) + bytes
      }
    }
    return result
  }

  private static func varint(_ value: UInt64, extra: Int) -> [UInt8] {
    var output = WireWriter()
    output.append(varint: value)
    guard extra > 0, var bytes = Optional(Array(output)), let last = bytes.popLast() else { return Array(output) }
    bytes.append(last | 0x80)
    return bytes + [UInt8](repeating: 0x80, count: extra - 1) + [0]
  }
}
