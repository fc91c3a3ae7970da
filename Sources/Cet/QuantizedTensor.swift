import CetTensor

/// Codes, scales and zero points of one initializer: w = scale * (code - zero point / zeroUnit).
///
/// Codes are unsigned and packed as one stream of bits in C order of the shape, least significant bit first: code k
/// is bits [k * bits, (k + 1) * bits) of the stream, bit i of the stream is bit i % 8 of byte i / 8, and the last
/// byte ends with zeros. For 2, 4 and 8 bits this is ONNX's packing of UINT2, UINT4 and UINT8.
///
/// Scales and zero points: one each without an axis; else one per index on the axis; with blocks, the weights of an
/// index in C order of the other axes are cut into blocks, and block j of index i has entry i * blocks + j.
public struct QuantizedTensor: Sendable, Equatable {
  public let name: String
  public let shape: [Int]
  public let bits: Int
  public let axis: Int?
  /// 0: not blocked.
  public let blockSize: Int
  public let codes: [UInt8]
  public let scales: [Float]
  public let zeroPoints: [UInt8]
  /// What zero points count in: 1, or 2 for halves.
  public let zeroUnit: Int

  public var count: Int { shape.elementCount }

  /// `codes` are packed as described above.
  public init(
    name: String, shape: [Int], bits: Int, axis: Int?, blockSize: Int = 0, codes: [UInt8], scales: [Float],
    zeroPoints: [UInt8], zeroUnit: Int = 1
  ) throws {
    func mismatch(_ text: String) -> CetError { CetError(.shapeMismatch, "initializer '\(name)': \(text)") }
    guard let count = shape.validatedCount, (1...8).contains(bits), blockSize >= 0 else {
      throw mismatch("shape \(shape.shapeText) with \(bits) bits is not possible")
    }
    if let axis, !shape.indices.contains(axis) { throw mismatch("axis \(axis) is outside of \(shape.shapeText)") }
    guard codes.count == QuantizedTensor.packedByteCount(count, bits: bits) else {
      throw mismatch("\(codes.count) bytes of codes for \(count) weights of \(bits) bits")
    }
    let rows = axis.map { shape[$0] } ?? 1
    let rowCount = rows > 0 ? count / rows : 0
    let entries = axis == nil || blockSize == 0 ? rows : rows * ((rowCount + blockSize - 1) / blockSize)
    guard scales.count == entries, zeroPoints.count == entries else {
      throw mismatch("\(scales.count) scales and \(zeroPoints.count) zero points, expected \(entries)")
    }
    self.name = name
    self.shape = shape
    self.bits = bits
    self.axis = axis
    self.blockSize = axis == nil ? 0 : blockSize
    self.codes = codes
    self.scales = scales
    self.zeroPoints = zeroPoints
    self.zeroUnit = zeroUnit
  }

  /// Unpacked codes, one a byte.
  public init(
    name: String, shape: [Int], bits: Int, axis: Int?, blockSize: Int = 0, unpacked: [UInt8], scales: [Float],
    zeroPoints: [UInt8], zeroUnit: Int = 1
  ) throws {
    guard shape.validatedCount == unpacked.count else {
      throw CetError(
        .shapeMismatch, "initializer '\(name)': \(unpacked.count) codes do not fill shape \(shape.shapeText)")
    }
    try self.init(
      name: name, shape: shape, bits: bits, axis: axis, blockSize: blockSize,
      codes: QuantizedTensor.pack(unpacked, bits: bits), scales: scales, zeroPoints: zeroPoints,
      zeroUnit: zeroUnit)
  }

  public static func packedByteCount(_ count: Int, bits: Int) -> Int { (count * bits + 7) / 8 }

  static func pack(_ values: [UInt8], bits: Int) -> [UInt8] {
    var packed: [UInt8] = []
    packed.reserveCapacity(packedByteCount(values.count, bits: bits))
    var word: UInt32 = 0
    var filled = 0
    let mask = UInt32(1) << UInt32(bits) - 1
    for value in values {
      word |= (UInt32(value) & mask) << UInt32(filled)
      filled += bits
      while filled >= 8 {
        packed.append(UInt8(truncatingIfNeeded: word))
        word >>= 8
        filled -= 8
      }
    }
    if filled > 0 { packed.append(UInt8(truncatingIfNeeded: word)) }
    return packed
  }

  /// One code a byte.
  public func unpackedCodes() -> [UInt8] {
    let mask = UInt32(1) << UInt32(bits) - 1
    return [UInt8](unsafeUninitializedCapacity: count) { out, filledCount in
      codes.withUnsafeBufferPointer { codes in
        var word: UInt32 = 0
        var held = 0
        var next = 0
        for index in 0..<count {
          if held < bits {
            word |= UInt32(codes[next]) << UInt32(held)
            next += 1
            held += 8
          }
          out.initializeElement(at: index, to: UInt8(truncatingIfNeeded: word & mask))
          word >>= UInt32(bits)
          held -= bits
        }
      }
      filledCount = count
    }
  }

  /// The weights, C order.
  public func dequantized() -> [Float] {
    let codes = unpackedCodes()
    return [Float](unsafeUninitializedCapacity: count) { out, filledCount in
      // Of the element at (o, r, i): r on the axis, o before it, i after it.
      let rows = axis.map { shape[$0] } ?? 1
      let inner = axis.map { shape[($0 + 1)...].elementCount } ?? count
      let outer = rows * inner > 0 ? count / (rows * inner) : 0
      let perRow = outer * inner
      let block = blockSize > 0 ? blockSize : max(perRow, 1)
      let blocks = max(1, (perRow + block - 1) / block)
      for o in 0..<outer {
        for r in 0..<rows {
          let start = (o * rows + r) * inner
          if blocks == 1 {
            let (scale, zero) = (scales[r], Float(zeroPoints[r]) / Float(zeroUnit))
            for i in start..<(start + inner) { out.initializeElement(at: i, to: scale * (Float(codes[i]) - zero)) }
            continue
          }
          for i in 0..<inner {
            let entry = r * blocks + (o * inner + i) / block
            let value = scales[entry] * (Float(codes[start + i]) - Float(zeroPoints[entry]) / Float(zeroUnit))
            out.initializeElement(at: start + i, to: value)
          }
        }
      }
      filledCount = count
    }
  }
}

extension ArraySlice where Element == Int {
  fileprivate var elementCount: Int { reduce(1, &*) }
}
