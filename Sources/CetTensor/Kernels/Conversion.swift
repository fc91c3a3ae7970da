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
    guard isPlain(x.type), isPlain(type) else {
      throw CetError(.unsupportedOperator, "no conversion from \(x.type) to \(type)")
    }
    switch x.type {
    case .float16, .bfloat16, .float32, .float64, .bool:
      return try inBlocks(x, type, context, read: readReals, write: writeReals)
    case .uint64 where type.isFloatingPoint:  // half of them are beyond Int64
      return try inBlocks(x, type, context, read: readIntegers, write: writeUnsigned)
    default:
      return try inBlocks(x, type, context, read: readIntegers, write: writeIntegers)
    }
  }

  private static func isPlain(_ type: ElementType) -> Bool {
    switch type {
    case .string, .complex64, .complex128: false
    default: Minifloat(type) == nil
    }
  }

  // MARK: - From any of n types to any of m

  private typealias Reals = UnsafeMutablePointer<Double>
  private typealias Integers = UnsafeMutablePointer<Int64>

  /// Numbers that are read and then written at once: few enough for the stack and the nearest cache.
  private static let blockLength = 256

  /// By n loops that read into a wide type and m that write from it, where loops from each to each would be n times m.
  @inline(__always)
  private static func inBlocks<Wide>(
    _ x: Tensor, _ type: ElementType, _ context: ComputeContext,
    read: (Tensor, Range<Int>, UnsafeMutablePointer<Wide>) -> Void,
    write: (UnsafeMutablePointer<Wide>, Tensor, Range<Int>) -> Void
  ) throws(CetError) -> Tensor {
    let result = try Tensor(uninitialized: type, x.shape, layout: x.layout, arena: context.arena)
    try context.pieces(x.count) { piece in
      withUnsafeTemporaryAllocation(of: Wide.self, capacity: blockLength) { block in
        guard let wide = block.baseAddress else { return }
        for first in stride(from: piece.lowerBound, to: piece.upperBound, by: blockLength) {
          let range = first..<min(first + blockLength, piece.upperBound)
          read(x, range, wide)
          write(wide, result, range)
        }
      }
    }
    return result
  }

  private static func readReals(_ x: Tensor, _ range: Range<Int>, _ wide: Reals) {
    switch x.type {
    case .float32: read(x, range, wide) { (v: Float) in Double(v) }
    case .float16: read(x, range, wide) { (v: UInt16) in Double(HalfPrecision.float(fromHalf: v)) }
    case .bfloat16: read(x, range, wide) { (v: UInt16) in Double(Float(bitPattern: UInt32(v) << 16)) }
    case .bool: read(x, range, wide) { (v: UInt8) in v != 0 ? 1 : 0 }
    default: read(x, range, wide) { (v: Double) in v }
    }
  }

  private static func readIntegers(_ x: Tensor, _ range: Range<Int>, _ wide: Integers) {
    switch x.type {
    case .int8, .int4, .int2: read(x, range, wide) { (v: Int8) in Int64(v) }
    case .uint8, .uint4, .uint2: read(x, range, wide) { (v: UInt8) in Int64(v) }
    case .int16: read(x, range, wide) { (v: Int16) in Int64(v) }
    case .uint16: read(x, range, wide) { (v: UInt16) in Int64(v) }
    case .int32: read(x, range, wide) { (v: Int32) in Int64(v) }
    case .uint32: read(x, range, wide) { (v: UInt32) in Int64(v) }
    case .uint64: read(x, range, wide) { (v: UInt64) in Int64(truncatingIfNeeded: v) }
    default: read(x, range, wide) { (v: Int64) in v }
    }
  }

  private static func writeReals(_ wide: Reals, _ y: Tensor, _ range: Range<Int>) {
    switch y.type {
    case .float32: write(wide, y, range) { Float($0) }
    case .float16: write(wide, y, range) { HalfPrecision.half(from: Float($0)) }
    case .bfloat16: write(wide, y, range) { HalfPrecision.bfloat16(from: Float($0)) }
    case .bool: write(wide, y, range) { $0 != 0 }
    case .int8: write(wide, y, range) { saturated($0) as Int8 }
    case .uint8: write(wide, y, range) { saturated($0) as UInt8 }
    case .int16: write(wide, y, range) { saturated($0) as Int16 }
    case .uint16: write(wide, y, range) { saturated($0) as UInt16 }
    case .int32: write(wide, y, range) { saturated($0) as Int32 }
    case .uint32: write(wide, y, range) { saturated($0) as UInt32 }
    case .int64: write(wide, y, range) { saturated($0) as Int64 }
    case .uint64: write(wide, y, range) { saturated($0) as UInt64 }
    // These wrap.
    case .int4: write(wide, y, range) { int4(saturated($0)) }
    case .uint4: write(wide, y, range) { uint4(saturated($0)) }
    case .int2: write(wide, y, range) { int2(saturated($0)) }
    case .uint2: write(wide, y, range) { uint2(saturated($0)) }
    default: write(wide, y, range) { $0 }
    }
  }

  private static func writeIntegers(_ wide: Integers, _ y: Tensor, _ range: Range<Int>) {
    switch y.type {
    case .float32: write(wide, y, range) { Float($0) }
    case .float64: write(wide, y, range) { Double($0) }
    case .float16: write(wide, y, range) { HalfPrecision.half(from: Float($0)) }
    case .bfloat16: write(wide, y, range) { HalfPrecision.bfloat16(from: Float($0)) }
    case .bool: write(wide, y, range) { $0 != 0 }
    case .int8: write(wide, y, range) { Int8(truncatingIfNeeded: $0) }
    case .uint8: write(wide, y, range) { UInt8(truncatingIfNeeded: $0) }
    case .int16: write(wide, y, range) { Int16(truncatingIfNeeded: $0) }
    case .uint16: write(wide, y, range) { UInt16(truncatingIfNeeded: $0) }
    case .int32: write(wide, y, range) { Int32(truncatingIfNeeded: $0) }
    case .uint32: write(wide, y, range) { UInt32(truncatingIfNeeded: $0) }
    case .uint64: write(wide, y, range) { UInt64(truncatingIfNeeded: $0) }
    case .int4: write(wide, y, range) { int4($0) }
    case .uint4: write(wide, y, range) { uint4($0) }
    case .int2: write(wide, y, range) { int2($0) }
    case .uint2: write(wide, y, range) { uint2($0) }
    default: write(wide, y, range) { $0 }
    }
  }

  private static func writeUnsigned(_ wide: Integers, _ y: Tensor, _ range: Range<Int>) {
    switch y.type {
    case .float32: write(wide, y, range) { Float(UInt64(bitPattern: $0)) }
    case .float16: write(wide, y, range) { HalfPrecision.half(from: Float(UInt64(bitPattern: $0))) }
    case .bfloat16: write(wide, y, range) { HalfPrecision.bfloat16(from: Float(UInt64(bitPattern: $0))) }
    default: write(wide, y, range) { Double(UInt64(bitPattern: $0)) }
    }
  }

  @inline(__always)
  private static func read<X, Wide>(_ x: Tensor, _ range: Range<Int>, _ wide: UnsafeMutablePointer<Wide>, _ value: (X) -> Wide) {
    let numbers = UnsafePointer(x.pointer.assumingMemoryBound(to: X.self)) + range.lowerBound
    for index in 0..<range.count { wide[index] = value(numbers[index]) }
  }

  @inline(__always)
  private static func write<Wide, Y>(_ wide: UnsafeMutablePointer<Wide>, _ y: Tensor, _ range: Range<Int>, _ value: (Wide) -> Y) {
    let numbers = y.pointer.assumingMemoryBound(to: Y.self) + range.lowerBound
    for index in 0..<range.count { numbers[index] = value(wide[index]) }
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

  private static func int4(_ value: Int64) -> Int8 { Int8(truncatingIfNeeded: value << 4) >> 4 }
  private static func uint4(_ value: Int64) -> UInt8 { UInt8(truncatingIfNeeded: value & 15) }
  private static func int2(_ value: Int64) -> Int8 { Int8(truncatingIfNeeded: value << 6) >> 6 }
  private static func uint2(_ value: Int64) -> UInt8 { UInt8(truncatingIfNeeded: value & 3) }
}
