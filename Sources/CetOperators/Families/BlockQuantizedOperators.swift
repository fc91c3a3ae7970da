import CetGraph
import CetTensor

/// Products and tables whose weights are codes in blocks, as onnxruntime has them: computed with the decoded weights.
let blockQuantizedOperators: [OperatorEntry] = [
  // x · Wᵀ + bias with W [N, K] from codes [N, ⌈K / B⌉, B · bits / 8]; activations are not rounded, whatever accuracy_level says.
  OperatorEntry("MatMulNBits", domain: "com.microsoft", versions: 1...1) { call in
    let (x, scale, e) = (try call.input(0), try call.input(2), call.e)
    let wide = scale.element
    let columns = try size(call, "K"), rows = try size(call, "N"), block = try size(call, "block_size")
    let bits = try width(call)
    guard !call.has(4) else { throw CetError(.unsupportedOperator, "group indices") }
    let blocks = (columns - 1) / block + 1
    let codes = try call.input(1)
    let bytes = Int.saturatingProduct(block, bits) / 8
    guard codes.shape.elementCount == Int.saturatingProduct(Int.saturatingProduct(rows, blocks), bytes), x.shape.last == columns else {
      throw CetError(.shapeMismatch, "codes \(codes.shape.shapeText) and input \(x.shape.shapeText) for N \(rows), K \(columns), blocks of \(block)")
    }
    let digits = try unpacked(e.reshape(codes, [rows, blocks, bytes]), bits: bits, to: wide, e)
    var zero = try e.scalar(Double(1 << (bits - 1)), wide)
    if let given = call.optional(3) {
      if given.element == .uint8 {
        let packed = (Int.saturatingProduct(blocks, bits) + 7) / 8
        zero = try e.slice(unpacked(e.reshape(given, [rows, packed]), bits: bits, to: wide, e), axis: 1, from: 0, count: blocks)
      } else {
        zero = try e.convert(given, to: wide)
      }
      zero = try e.reshape(zero, [rows, blocks, 1])
    }
    let scales = try e.reshape(scale, [rows, blocks, 1])
    let weights = try e.reshape(e.multiply(e.subtract(digits, zero), scales), [rows, blocks * block])
    let used = try e.slice(weights, axis: 1, from: 0, count: columns)
    let y = try e.matrixProduct(x, e.convert(used, to: x.element), transposeRight: true)
    return [try call.optional(5).map { try e.add(y, $0) } ?? y]
  },
  // Rows of a table whose last axis is coded in blocks.
  OperatorEntry("GatherBlockQuantized", domain: "com.microsoft", versions: 1...1) { call in
    let (data, scale, e) = (try call.input(0), try call.input(2), call.e)
    let wide = scale.element
    let block = try size(call, "block_size", 128)
    let last = data.rank - 1
    let axis = try call.axis(call.int("gather_axis", 0), rank: data.rank)
    guard try call.axis(call.int("quantize_axis", 1), rank: data.rank) == last, axis != last else {
      throw CetError(.unsupportedOperator, "blocks along another axis than the last, or rows along it")
    }
    let isPacked = data.element == .uint8
    let bits = isPacked ? try width(call) : data.element.bitWidth
    let codes = try isPacked ? unpacked(data, bits: bits, to: wide, e) : e.convert(data, to: wide)
    let columns = codes.shape[last]
    let blocks = (columns + block - 1) / block
    guard scale.rank == data.rank, scale.shape[last] == blocks else {
      throw CetError(.shapeMismatch, "scales \(scale.shape.shapeText) for blocks of \(block) in \(codes.shape.shapeText)")
    }
    try e.reserve(columns, "the blocks of a row")
    let places = try e.integers((0..<columns).map { $0 / block })
    func spread(_ v: Value) throws -> Value { try e.emit(Gather(axis: last), v, places) }
    var zero = try e.scalar(isPacked ? Double(1 << (bits - 1)) : 0, wide)
    if let given = call.optional(3) {
      let whole = try isPacked ? unpacked(given, bits: bits, to: wide, e) : e.convert(given, to: wide)
      zero = try spread(e.slice(whole, axis: last, from: 0, count: blocks))
    }
    let weights = try e.multiply(e.subtract(codes, zero), spread(scale))
    let indices = try e.convert(call.input(1), to: .int64)
    return [try e.emit(Gather(axis: axis), weights, indices)]
  },
]

private func size(_ call: OperatorCall, _ name: String, _ standard: Int = 0) throws -> Int {
  let value = try call.int(name, standard)
  guard (1...(1 << 40)).contains(value) else { throw CetError(.invalidModel, "attribute '\(name)' is \(value), expected a positive number") }
  return value
}

private func width(_ call: OperatorCall) throws -> Int {
  let bits = try call.int("bits", 4)
  guard [2, 4, 8].contains(bits) else { throw CetError(.unsupportedOperator, "\(bits) bits") }
  return bits
}

/// The codes in bytes along the last axis, lowest bits first, as floats.
private func unpacked(_ bytes: Value, bits: Int, to element: ElementType, _ e: Emitter) throws -> Value {
  let wide = try e.convert(bytes, to: element)
  guard bits < 8 else { return wide }
  let each = 8 / bits
  let count = Int.saturatingProduct(wide.shape.last ?? 1, each)
  try e.reserve(element, wide.shape.dropLast() + [count])
  let shifts = e.constant(try Tensor((0..<each).map { Float(sign: .plus, exponent: -bits * $0, significand: 1) }, shape: [each]))
  // ⌊x · 2^−bi⌋ less what lies above it
  let floors = try e.unary(.floor, e.multiply(e.reshape(wide, wide.shape + [1]), e.convert(shifts, to: element)))
  let above = try e.unary(.floor, e.scale(floors, by: 1 / Double(1 << bits)))
  let digits = try e.subtract(floors, e.scale(above, by: Double(1 << bits)))
  return try e.reshape(digits, wide.shape.dropLast() + [count])
}
