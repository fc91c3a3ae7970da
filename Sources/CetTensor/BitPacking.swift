/// Codes in few bytes. Of every code the lowest `bits` (1 to 8) are taken.
public enum BitPacking {
  /// Bytes of `count` codes side by side.
  public static func packedByteCount(count: Int, bits: Int) -> Int { (count * bits + 7) / 8 }

  /// Codes side by side as one stream, least significant bit first: code k is bits [k · bits, (k + 1) · bits) of the
  /// stream, bit i of the stream is bit i % 8 of byte i / 8. Unused bits of the last byte are zero. For 2, 4 and 8 bits
  /// this is how ONNX stores its integer types.
  public static func pack(_ codes: UnsafeRawBufferPointer, bits: Int) -> [UInt8] {
    let byteCount = packedByteCount(count: codes.count, bits: bits)
    return [UInt8](unsafeUninitializedCapacity: byteCount) { target, count in
      let mask = UInt32(1) << UInt32(bits) - 1
      var word: UInt32 = 0
      var filled = 0
      for code in codes {
        word |= (UInt32(code) & mask) << UInt32(filled)
        filled += bits
        while filled >= 8 {
          target[count] = UInt8(truncatingIfNeeded: word)
          count += 1
          word >>= 8
          filled -= 8
        }
      }
      if filled > 0 {
        target[count] = UInt8(truncatingIfNeeded: word)
        count += 1
      }
    }
  }

  public static func pack(_ codes: [UInt8], bits: Int) -> [UInt8] { codes.withUnsafeBytes { pack($0, bits: bits) } }

  /// The first `count` codes of what `pack` makes, one a byte. `bytes` holds as many.
  public static func unpack(
    _ bytes: UnsafeRawBufferPointer, count: Int, bits: Int, into codes: UnsafeMutablePointer<UInt8>
  ) {
    let mask = UInt32(1) << UInt32(bits) - 1
    var word: UInt32 = 0
    var held = 0
    var next = 0
    for index in 0..<count {
      if held < bits {
        word |= UInt32(bytes[next]) << UInt32(held)
        next += 1
        held += 8
      }
      codes[index] = UInt8(truncatingIfNeeded: word & mask)
      word >>= UInt32(bits)
      held -= bits
    }
  }
}
