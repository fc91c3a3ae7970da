/// Element type conversion with ONNX Cast's meaning: truncation toward zero, out-of-range saturates instead
/// of trapping, NaN becomes 0, anything but zero is true. Integers too wide for their target wrap.
public enum Conversion {
  /// - Parameter saturates: whether numbers too large for a format of 8 bits become its largest number.
  public static func convert(
    _ x: Tensor, to type: ElementType, saturates: Bool = true, _ context: ComputeContext
  ) throws(CetError) -> Tensor {
    if x.type == type { return x }
    if let source = Minifloat(x.type) {
      let codes = x.pointer.assumingMemoryBound(to: UInt8.self)
      let wide = try fill(x, .float32, context) { source.decode(codes[$0]) }
      return try convert(wide, to: type, saturates: saturates, context)
    }
    if let target = Minifloat(type) {
      let wide = try convert(x, to: .float64, context)
      let numbers = wide.elements(as: Double.self)
      return try fill(wide, type, context) { target.encode(numbers[$0], saturates: saturates) }
    }
    switch x.type {
    case .float32: return try widen(x, type, context) { (v: Float) in Double(v) }
    case .float64: return try widen(x, type, context) { (v: Double) in v }
    case .float16: return try widen(x, type, context) { (v: UInt16) in Double(HalfPrecision.float(fromHalf: v)) }
    case .bfloat16: return try widen(x, type, context) { (v: UInt16) in Double(Float(bitPattern: UInt32(v) << 16)) }
    case .bool: return try widen(x, type, context) { (v: UInt8) in v != 0 ? 1 : 0 }
    case .int8, .int4, .int2: return try integers(x, type, context) { (v: Int8) in Int64(v) }
    case .uint8, .uint4, .uint2: return try integers(x, type, context) { (v: UInt8) in Int64(v) }
    case .int16: return try integers(x, type, context) { (v: Int16) in Int64(v) }
    case .uint16: return try integers(x, type, context) { (v: UInt16) in Int64(v) }
    case .int32: return try integers(x, type, context) { (v: Int32) in Int64(v) }
    case .uint32: return try integers(x, type, context) { (v: UInt32) in Int64(v) }
    case .int64: return try integers(x, type, context) { (v: Int64) in v }
    case .uint64: return try integers(x, type, context) { (v: UInt64) in Int64(truncatingIfNeeded: v) }
    default: throw CetError(.unsupportedOperator, "no conversion from \(x.type) to \(type)")
    }
  }

  @inline(__always)
  private static func widen<X: TensorElement>(
    _ x: Tensor, _ type: ElementType, _ context: ComputeContext, _ read: (X) -> Double
  ) throws(CetError) -> Tensor {
    let input = UnsafePointer(x.pointer.assumingMemoryBound(to: X.self))
    switch type {
    case .float32: return try fill(x, type, context) { Float(read(input[$0])) }
    case .float64: return try fill(x, type, context) { read(input[$0]) }
    case .float16: return try fill(x, type, context) { HalfPrecision.half(from: Float(read(input[$0]))) }
    case .bfloat16: return try fill(x, type, context) { HalfPrecision.bfloat16(from: Float(read(input[$0]))) }
    case .bool: return try fill(x, type, context) { read(input[$0]) != 0 }
    case .int8: return try fill(x, type, context) { saturated(read(input[$0])) as Int8 }
    case .uint8: return try fill(x, type, context) { saturated(read(input[$0])) as UInt8 }
    case .int4, .uint4, .int2, .uint2:  // these wrap
      return try convert(fill(x, .int64, context) { saturated(read(input[$0])) as Int64 }, to: type, context)
    case .int16: return try fill(x, type, context) { saturated(read(input[$0])) as Int16 }
    case .uint16: return try fill(x, type, context) { saturated(read(input[$0])) as UInt16 }
    case .int32: return try fill(x, type, context) { saturated(read(input[$0])) as Int32 }
    case .uint32: return try fill(x, type, context) { saturated(read(input[$0])) as UInt32 }
    case .int64: return try fill(x, type, context) { saturated(read(input[$0])) as Int64 }
    case .uint64: return try fill(x, type, context) { saturated(read(input[$0])) as UInt64 }
    default: throw CetError(.unsupportedOperator, "no conversion from \(x.type) to \(type)")
    }
  }

  @inline(__always)
  private static func integers<X: TensorElement>(
    _ x: Tensor, _ type: ElementType, _ context: ComputeContext, _ read: (X) -> Int64
  ) throws(CetError) -> Tensor {
    let input = UnsafePointer(x.pointer.assumingMemoryBound(to: X.self))
    switch type {
    case .float32: return try fill(x, type, context) { Float(read(input[$0])) }
    case .float64: return try fill(x, type, context) { Double(read(input[$0])) }
    case .float16: return try fill(x, type, context) { HalfPrecision.half(from: Float(read(input[$0]))) }
    case .bfloat16: return try fill(x, type, context) { HalfPrecision.bfloat16(from: Float(read(input[$0]))) }
    case .bool: return try fill(x, type, context) { read(input[$0]) != 0 }
    case .int8: return try fill(x, type, context) { Int8(truncatingIfNeeded: read(input[$0])) }
    case .uint8: return try fill(x, type, context) { UInt8(truncatingIfNeeded: read(input[$0])) }
    case .int4: return try fill(x, type, context) { Int8(truncatingIfNeeded: read(input[$0]) << 4) >> 4 }
    case .uint4: return try fill(x, type, context) { UInt8(truncatingIfNeeded: read(input[$0]) & 15) }
    case .int2: return try fill(x, type, context) { Int8(truncatingIfNeeded: read(input[$0]) << 6) >> 6 }
    case .uint2: return try fill(x, type, context) { UInt8(truncatingIfNeeded: read(input[$0]) & 3) }
    case .int16: return try fill(x, type, context) { Int16(truncatingIfNeeded: read(input[$0])) }
    case .uint16: return try fill(x, type, context) { UInt16(truncatingIfNeeded: read(input[$0])) }
    case .int32: return try fill(x, type, context) { Int32(truncatingIfNeeded: read(input[$0])) }
    case .uint32: return try fill(x, type, context) { UInt32(truncatingIfNeeded: read(input[$0])) }
    case .int64: return try fill(x, type, context) { read(input[$0]) }
    case .uint64: return try fill(x, type, context) { UInt64(truncatingIfNeeded: read(input[$0])) }
    default: throw CetError(.unsupportedOperator, "no conversion from \(x.type) to \(type)")
    }
  }

  @inline(__always)
  private static func fill<Y>(
    _ x: Tensor, _ type: ElementType, _ context: ComputeContext, _ value: (Int) -> Y
  ) throws(CetError) -> Tensor {
    let result = try Tensor(uninitialized: type, x.shape, layout: x.layout, arena: context.arena)
    let output = result.pointer.assumingMemoryBound(to: Y.self)
    try context.pieces(x.count) { piece in
      for index in piece { output[index] = value(index) }
    }
    return result
  }

  @inline(__always)
  private static func saturated<I: FixedWidthInteger>(_ value: Double) -> I {
    if value.isNaN { return 0 }
    if value >= Double(I.max) { return I.max }
    if value <= Double(I.min) { return I.min }
    return I(value)
  }
}

/// 16-bit floating point by bit patterns: Swift's Float16 is not there on every platform.
public enum HalfPrecision {
  public static func float(fromHalf bits: UInt16) -> Float {
    let sign = UInt32(bits & 0x8000) << 16
    let exponent = UInt32(bits >> 10) & 0x1F
    let fraction = UInt32(bits & 0x3FF)
    if exponent == 0 {
      let magnitude = Float(fraction) * 0x1p-24
      return sign == 0 ? magnitude : -magnitude
    }
    if exponent == 31 { return Float(bitPattern: sign | 0x7F80_0000 | fraction << 13) }
    return Float(bitPattern: sign | (exponent + 112) << 23 | fraction << 13)
  }

  /// Round to nearest, ties to even.
  public static func half(from value: Float) -> UInt16 {
    let bits = value.bitPattern
    let sign = UInt16(truncatingIfNeeded: bits >> 16) & 0x8000
    let magnitude = bits & 0x7FFF_FFFF
    if magnitude > 0x7F80_0000 { return sign | 0x7E00 }
    if magnitude >= 0x4780_0000 { return sign | 0x7C00 }  // 65536 and above, infinity
    if magnitude < 0x3880_0000 {  // below 2^-14: subnormal
      let scaled = Float(bitPattern: magnitude) * 0x1p24
      return sign | UInt16(scaled.rounded(.toNearestOrEven))
    }
    let rounded = magnitude + 0xFFF + ((magnitude >> 13) & 1)
    return sign | UInt16(truncatingIfNeeded: (rounded - 0x3800_0000) >> 13)
  }

  public static func bfloat16(from value: Float) -> UInt16 {
    let bits = value.bitPattern
    if value.isNaN { return UInt16(truncatingIfNeeded: bits >> 16) | 0x40 }
    return UInt16(truncatingIfNeeded: (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16)
  }
}
