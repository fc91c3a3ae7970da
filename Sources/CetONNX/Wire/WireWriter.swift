import CetFormats
import CetTensor

/// Protobuf output as a list of pieces: bytes made here, and ranges of the source file or of a tensor that
/// are only referred to. A written model is mostly ranges, so its exact size is known without copying it.
struct WireWriter {
  enum Piece {
    case made([UInt8])
    case borrowed(UnsafeRawBufferPointer, keeper: AnyObject)
    /// Codes, one a byte, that are packed whenever they are asked for: the output does not hold them twice.
    case packed(UnsafeRawBufferPointer, bits: Int, keeper: AnyObject)

    func withBytes<Failure>(_ body: (UnsafeRawBufferPointer) throws(Failure) -> Void) throws(Failure) {
      switch self {
      case .made(let bytes): try bytes.span.withUnsafeBytes(body)
      case .borrowed(let bytes, let keeper): try withExtendedLifetime(keeper) { () throws(Failure) in try body(bytes) }
      case .packed(let codes, let bits, let keeper):
        let bytes = withExtendedLifetime(keeper) { BitPacking.pack(codes, bits: bits) }
        try bytes.span.withUnsafeBytes(body)
      }
    }
  }

  private(set) var byteCount = 0
  private var closed: [Piece] = []
  private var tail: [UInt8] = []

  var pieces: [Piece] { tail.isEmpty ? closed : closed + [.made(tail)] }

  // MARK: Raw output

  mutating func append(varint value: UInt64) {
    var rest = value
    while rest >= 0x80 {
      append(byte: UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    append(byte: UInt8(truncatingIfNeeded: rest))
  }

  mutating func append(byte: UInt8) {
    tail.append(byte)
    byteCount += 1
  }

  mutating func append(_ bytes: [UInt8]) {
    tail += bytes
    byteCount += bytes.count
  }

  /// Refers to memory that `keeper` keeps alive; short ranges are copied instead, which is cheaper.
  mutating func append(borrowing bytes: UnsafeRawBufferPointer, keeper: AnyObject) {
    guard !bytes.isEmpty else { return }
    byteCount += bytes.count
    if bytes.count < 256 {
      tail += bytes
    } else {
      closeTail()
      closed.append(.borrowed(bytes, keeper: keeper))
    }
  }

  /// Refers to codes, one a byte, that are written side by side in `bits` bits each.
  mutating func append(packing codes: UnsafeRawBufferPointer, bits: Int, keeper: AnyObject) {
    guard !codes.isEmpty else { return }
    byteCount += BitPacking.packedByteCount(count: codes.count, bits: bits)
    closeTail()
    closed.append(.packed(codes, bits: bits, keeper: keeper))
  }

  mutating func append(zeros count: Int) {
    tail += [UInt8](repeating: 0, count: count)
    byteCount += count
  }

  mutating func append(_ other: WireWriter) {
    for piece in other.closed {
      closeTail()
      closed.append(piece)
    }
    tail += other.tail
    byteCount += other.byteCount
  }

  private mutating func closeTail() {
    guard !tail.isEmpty else { return }
    closed.append(.made(tail))
    tail = []
  }

  // MARK: Fields

  mutating func tag(_ number: Int, _ type: WireType) {
    append(varint: UInt64(number) << 3 | UInt64(type.rawValue))
  }

  mutating func integer(_ number: Int, _ value: Int64) {
    tag(number, .varint)
    append(varint: UInt64(bitPattern: value))
  }

  mutating func float(_ number: Int, _ value: Float) {
    tag(number, .fixed32)
    append(littleEndianBytes(value.bitPattern))
  }

  mutating func bytes(_ number: Int, _ value: [UInt8]) {
    header(number, byteCount: value.count)
    append(value)
  }

  mutating func string(_ number: Int, _ value: String) { bytes(number, Array(value.utf8)) }

  /// A string that is left out when it is empty, which reads back the same.
  mutating func optionalString(_ number: Int, _ value: String) {
    if !value.isEmpty { string(number, value) }
  }

  mutating func message(_ number: Int, _ contents: WireWriter) {
    header(number, byteCount: contents.byteCount)
    append(contents)
  }

  /// Tag and length of a length-delimited field whose contents follow.
  mutating func header(_ number: Int, byteCount: Int) {
    tag(number, .bytes)
    append(varint: UInt64(byteCount))
  }

  private func littleEndianBytes(_ bits: UInt32) -> [UInt8] {
    (0..<4).map { UInt8(truncatingIfNeeded: bits >> (8 * $0)) }
  }
}

extension Array where Element == UInt8 {
  /// The output as one run of bytes.
  init(_ output: WireWriter) {
    self.init(unsafeUninitializedCapacity: output.byteCount) { target, count in
      guard let start = target.baseAddress else { return }
      for piece in output.pieces {
        piece.withBytes { bytes in
          if let source = bytes.baseAddress {
            UnsafeMutableRawPointer(start + count).copyMemory(from: source, byteCount: bytes.count)
          }
          count += bytes.count
        }
      }
    }
  }
}

extension PendingFile {
  /// - Parameter check: asked between pieces; throws to stop.
  func write(
    _ output: WireWriter, _ check: () throws(CetError) -> Void = { () throws(CetError) in }
  ) throws(CetError) {
    var buffer: [UInt8] = []
    buffer.reserveCapacity(1 << 16)
    func flush() throws(CetError) {
      try buffer.span.withUnsafeBytes(writeAll)
      buffer.removeAll(keepingCapacity: true)
    }
    func add(_ bytes: UnsafeRawBufferPointer) throws(CetError) {
      let isLarge = bytes.count > 1 << 15
      if isLarge || buffer.count + bytes.count > 1 << 16 { try flush() }
      guard isLarge else { return buffer += bytes }
      for first in stride(from: 0, to: bytes.count, by: 1 << 24) {
        try check()
        try writeAll(UnsafeRawBufferPointer(rebasing: bytes[first..<min(first + 1 << 24, bytes.count)]))
      }
    }
    for piece in output.pieces { try piece.withBytes(add) }
    try flush()
  }
}
