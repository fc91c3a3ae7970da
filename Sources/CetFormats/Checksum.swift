/// A fast 64-bit checksum against damage and mix-ups, not against intent. A stretch of bytes counts with its length,
/// as words of eight bytes.
public struct Checksum: Sendable {
  public private(set) var value: UInt64

  public init(seed: UInt64 = 0) { value = 0xcbf2_9ce4_8422_2325 ^ seed }

  private mutating func mix(_ word: UInt64) {
    value = (value ^ word) &* 0x9e37_79b9_7f4a_7c15
    value ^= value >> 29
  }

  public mutating func update(_ bytes: UnsafeRawBufferPointer) {
    mix(UInt64(bytes.count))
    let words = bytes.count / 8
    for i in 0..<words { mix(bytes.loadUnaligned(fromByteOffset: 8 * i, as: UInt64.self)) }
    var last: UInt64 = 0
    for (k, byte) in bytes[(8 * words)...].enumerated() { last |= UInt64(byte) << UInt64(8 * k) }
    if bytes.count > 8 * words { mix(last) }
  }

  public mutating func update(_ text: String) { Array(text.utf8).withUnsafeBytes { update($0) } }

  public static func hexadecimal(_ value: UInt64) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.utf8.count) + digits
  }
}
