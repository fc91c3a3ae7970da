import CKernels
import CetTensor

/// Codes in few bytes.
public enum BitPacking {
  /// Bytes of `count` codes as bit planes.
  public static func planeByteCount(count: Int, bits: Int) -> Int { bits * ((count + 7) / 8) }

  /// Bytes of `count` codes side by side.
  public static func packedByteCount(count: Int, bits: Int) -> Int { (count * bits + 7) / 8 }

  /// Little-endian bit planes: [bits, ceil(n / 8)] bytes, plane k holds bit k of every code, eight codes to a
  /// byte from the lowest bit. Unused bits of the last byte of a plane are zero.
  public static func packPlanes(_ codes: [UInt8], bits: Int) throws -> [UInt8] {
    try check(codes, bits)
    var planes = [UInt8](repeating: 0, count: planeByteCount(count: codes.count, bits: bits))
    ck_pack_planes(codes, codes.count, Int32(bits), &planes)
    return planes
  }

  public static func unpackPlanes(_ planes: [UInt8], count: Int, bits: Int) throws -> [UInt8] {
    try check(bytes: planes.count, needed: (1...8).contains(bits) && count >= 0 && count < 1 << 46 ? planeByteCount(count: count, bits: bits) : -1, count, bits)
    var codes = [UInt8](repeating: 0, count: count)
    ck_unpack_planes(planes, count, Int32(bits), &codes)
    return codes
  }

  /// Codes side by side from the lowest bit of the first byte, as ONNX stores UINT2, UINT4 and UINT8 (bits 2,
  /// 4, 8, and 1, whose codes also never cross a byte). Unused bits of the last byte are zero.
  public static func pack(_ codes: [UInt8], bits: Int) throws -> [UInt8] {
    try check(codes, bits)
    try checkDivides(bits)
    let perByte = 8 / bits
    var bytes = [UInt8](repeating: 0, count: packedByteCount(count: codes.count, bits: bits))
    for (i, code) in codes.enumerated() { bytes[i / perByte] |= code << UInt8(i % perByte * bits) }
    return bytes
  }

  public static func unpack(_ bytes: [UInt8], count: Int, bits: Int) throws -> [UInt8] {
    try check(bytes: bytes.count, needed: (1...8).contains(bits) && count >= 0 && count < 1 << 46 ? packedByteCount(count: count, bits: bits) : -1, count, bits)
    try checkDivides(bits)
    let perByte = 8 / bits
    let mask = UInt8(truncatingIfNeeded: (1 << bits) - 1)
    return (0..<count).map { (bytes[$0 / perByte] >> UInt8($0 % perByte * bits)) & mask }
  }

  private static func checkDivides(_ bits: Int) throws {
    guard 8 % bits == 0 else {
      throw CetError(.invalidArgument, "codes of \(bits) bits do not fill bytes, use bit planes")
    }
  }

  private static func check(_ codes: [UInt8], _ bits: Int) throws {
    guard (1...8).contains(bits) else { throw CetError(.invalidArgument, "bits must be 1 to 8, got \(bits)") }
    if let code = codes.max(), Int(code) >= 1 << bits {
      throw CetError(.invalidArgument, "code \(code) does not fit \(bits) bits")
    }
  }

  private static func check(bytes: Int, needed: Int, _ count: Int, _ bits: Int) throws {
    guard (1...8).contains(bits) else { throw CetError(.invalidArgument, "bits must be 1 to 8, got \(bits)") }
    guard bytes == needed else {
      throw CetError(.shapeMismatch, "\(count) codes of \(bits) bits need \(needed) bytes, got \(bytes)")
    }
  }
}
