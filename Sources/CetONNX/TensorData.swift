import CetTensor

/// Turns the bytes of a TensorProto into a `Tensor`.
enum TensorData {
  /// Bytes that ONNX's packed little-endian form of `count` elements takes.
  static func packedByteCount(_ type: ElementType, count: Int) -> Int {
    type.bitWidth >= 8 ? count * type.byteWidth : BitPacking.packedByteCount(count: count, bits: type.bitWidth)
  }

  /// A tensor over raw little-endian bytes: borrowed where they are aligned, copied on first use otherwise.
  /// The caller has checked that `raw` has `packedByteCount` bytes.
  static func tensor(
    _ type: ElementType, _ shape: [Int], raw: UnsafeRawBufferPointer, keeper: AnyObject
  ) throws(CetError) -> Tensor {
    guard let source = raw.baseAddress, !raw.isEmpty else { return try Tensor(uninitialized: type, shape) }
    if type.bitWidth < 8 { return try unpacked(type, shape, raw) }
    if type == .bool {
      // Swift's Bool holds only 0 and 1; any other byte counts as true.
      guard raw.contains(where: { $0 > 1 }) else { return try borrowed(type, shape, raw, keeper) }
      return try Tensor(raw.map { $0 != 0 }, shape: shape)
    }
    guard UInt(bitPattern: source) % UInt(min(type.byteWidth, 8)) != 0 else {
      return try borrowed(type, shape, raw, keeper)
    }
    let storage = try Storage(deferringCopyOf: source, byteCount: raw.count, keeper: keeper)
    return try Tensor(type: type, shape: shape, storage: storage)
  }

  private static func borrowed(
    _ type: ElementType, _ shape: [Int], _ raw: UnsafeRawBufferPointer, _ keeper: AnyObject
  ) throws(CetError) -> Tensor {
    guard let source = raw.baseAddress else { return try Tensor(uninitialized: type, shape) }
    let storage = Storage(borrowing: source, byteCount: raw.count, keeper: keeper)
    return try Tensor(type: type, shape: shape, storage: storage)
  }

  /// One byte an element from elements packed lowest bits first; signed types are sign extended.
  static func unpacked(_ type: ElementType, _ shape: [Int], _ packed: UnsafeRawBufferPointer) throws(CetError) -> Tensor {
    let tensor = try Tensor(uninitialized: type, shape)
    let target = tensor.pointer.assumingMemoryBound(to: UInt8.self)
    BitPacking.unpack(packed, count: tensor.count, bits: type.bitWidth, into: target)
    if type == .int4 || type == .int2 {
      let signBit: UInt8 = 1 << (type.bitWidth - 1)
      for index in 0..<tensor.count { target[index] = (target[index] ^ signBit) &- signBit }
    }
    return tensor
  }

  /// The elements in C order as ONNX's raw_data holds them. Sub-byte types are packed lowest bits first.
  static func appendRaw(_ tensor: Tensor, to output: inout WireWriter) throws(CetError) {
    guard tensor.type != .string else {
      throw CetError(.invalidArgument, "string tensors cannot be written: their text is not kept")
    }
    let plain = try tensor.rowMajor()
    let bytes = UnsafeRawBufferPointer(start: plain.pointer, count: plain.byteCount)
    if tensor.type.bitWidth >= 8 {
      output.append(borrowing: bytes, keeper: plain.storage)
    } else {
      output.append(packing: bytes, bits: tensor.type.bitWidth, keeper: plain.storage)
    }
  }
}

/// A run of a repeated number field: packed, or a single value (`float_data` and its kin).
struct NumberRun {
  let range: Range<Int>
  let type: WireType
}

extension TensorData {
  /// Elements of `float_data` or `double_data`, whose packed form is the raw form.
  static func fixedWidth(
    _ type: ElementType, _ shape: [Int], _ runs: [NumberRun], in file: HeldBytes, fieldName: String
  ) throws(CetError) -> Tensor {
    let needed = packedByteCount(type, count: shape.elementCount)
    let single: WireType = fieldName == "float_data" ? .fixed32 : .fixed64
    for run in runs where run.type != .bytes && run.type != single {
      throw CetError(.invalidModel, "\(fieldName) has wire type \(run.type.rawValue), expected \(single.rawValue)")
    }
    let found = runs.reduce(0) { $0 + $1.range.count }
    guard found == needed else {
      throw CetError(
        .invalidModel, "\(fieldName) has \(found) bytes, shape \(shape.shapeText) \(type) needs \(needed)")
    }
    if runs.count == 1 { return try tensor(type, shape, raw: file.slice(runs[0].range), keeper: file) }
    let result = try Tensor(uninitialized: type, shape)
    var offset = 0
    for run in runs where !run.range.isEmpty {
      (result.pointer + offset).copyMemory(from: file.base + run.range.lowerBound, byteCount: run.range.count)
      offset += run.range.count
    }
    return result
  }

  /// Elements of `int32_data`, `int64_data` or `uint64_data`, each a varint that keeps its low bits. Sub-byte
  /// types hold one packed byte in each number.
  static func varints(
    _ type: ElementType, _ shape: [Int], _ runs: [NumberRun], in file: HeldBytes, fieldName: String
  ) throws(CetError) -> Tensor {
    let isPacked = type.bitWidth < 8
    let width = type.byteWidth
    let needed = isPacked ? packedByteCount(type, count: shape.elementCount) : shape.elementCount
    func wrongCount(_ text: String) -> CetError {
      CetError(.invalidModel, "\(fieldName) has \(text) numbers, shape \(shape.shapeText) \(type) needs \(needed)")
    }
    // A varint takes at least a byte: a hostile shape is found out before anything is allocated for it.
    let available = runs.reduce(0) { $0 + $1.range.count }
    guard needed <= available else { throw wrongCount("at most \(available)") }
    let target = try Storage(byteCount: needed * width)
    let pointer = target.pointer
    var count = 0
    for run in runs {
      guard run.type == .bytes || run.type == .varint else {
        throw CetError(.invalidModel, "\(fieldName) has wire type \(run.type.rawValue), expected 0 or 2")
      }
      var reader = WireReader(file.base, run.range)
      while reader.position < reader.end {
        let value = try reader.varint()
        guard count < needed else { throw wrongCount("more than \(needed)") }
        let place = pointer + count * width
        switch width {
        case 1: place.storeBytes(of: UInt8(truncatingIfNeeded: value), as: UInt8.self)
        case 2: place.storeBytes(of: UInt16(truncatingIfNeeded: value), as: UInt16.self)
        case 4: place.storeBytes(of: UInt32(truncatingIfNeeded: value), as: UInt32.self)
        default: place.storeBytes(of: value, as: UInt64.self)
        }
        count += 1
      }
    }
    guard count == needed else { throw wrongCount("\(count)") }
    let raw = UnsafeRawBufferPointer(start: pointer, count: needed * width)
    return try tensor(type, shape, raw: raw, keeper: target)
  }
}
