import CetGraph
import CetTensor

let quantizationOperators: [OperatorEntry] = [
  OperatorEntry("QuantizeLinear", versions: 10...newestOpset, derivatives: .zero) { call in
    let (x, e) = (try call.input(0), call.e)
    let named = try call.elementType("output_dtype")
    let target = call.optional(2)?.element ?? named ?? .uint8
    let scale = try spread(call.input(1), call, over: x)
    let wide: ElementType = x.element == .float64 ? .float64 : .float32
    let ratio = try e.divide(e.convert(x, to: wide), e.convert(scale, to: wide))
    let zero = try call.optional(2).map { try spread($0, call, over: x) }
    return [try quantized(ratio, zeroPoint: zero, to: target, saturates: call.int("saturate", 1) != 0, e)]
  },
  // (x − zero point)·scale
  OperatorEntry("DequantizeLinear", versions: 10...newestOpset) { call in
    let (x, scale, e) = (try call.input(0), try call.input(1), call.e)
    let wide = scale.element
    var offset = try e.convert(x, to: wide)
    if let zero = call.optional(2) { offset = try e.subtract(offset, e.convert(spread(zero, call, over: x), to: wide)) }
    return [try e.convert(e.multiply(offset, spread(scale, call, over: x)), to: call.elementType("output_dtype") ?? wide)]
  },
  // scale = (max(x, 0) − min(x, 0))/255, zero point = round(−min/scale)
  OperatorEntry("DynamicQuantizeLinear", versions: 11...newestOpset, derivatives: .zero) { call in
    let (x, e) = (try call.input(0), call.e)
    let all = Array(0..<x.rank)
    func bound(_ largest: Bool) throws -> Value {
      let found = try x.rank == 0 ? x : e.reshape(e.emit(Extremum(axes: all, largest: largest), x), [])
      return try e.binary(largest ? .maximum : .minimum, found, e.scalar(0, x.element))
    }
    let (low, high) = (try bound(false), try bound(true))
    let scale = try e.divide(e.subtract(high, low), e.scalar(255, x.element))
    let zero = try quantized(e.negate(e.divide(low, scale)), zeroPoint: nil, to: .uint8, e)
    return [try quantized(e.divide(x, scale), zeroPoint: zero, to: .uint8, e), scale, zero]
  },
  OperatorEntry("MatMulInteger", versions: 10...newestOpset, derivatives: .zero) { call in
    let (a, b) = (try call.input(0), try call.input(1))
    return [try integerProduct(a, call.optional(2), b, call.optional(3), call.e)]
  },
  OperatorEntry("QLinearMatMul", versions: 10...newestOpset, derivatives: .zero) { call in
    let e = call.e
    let sum = try e.convert(integerProduct(call.input(0), call.input(2), call.input(3), call.input(5), e), to: .float32)
    let (a, b, y) = (try rowScale(call.input(1), call.input(0), e), try call.input(4), try call.input(6))
    let factor = try e.multiply(e.convert(a, to: .float32), e.convert(b, to: .float32))
    let ratio = try e.divide(e.multiply(sum, factor), e.convert(y, to: .float32))
    return [try quantized(ratio, zeroPoint: call.input(7), to: call.input(7).element, e)]
  },
  // In float32, which holds sums below 2²⁴ exactly.
  OperatorEntry("ConvInteger", versions: 10...newestOpset, derivatives: .zero) { call in
    let y = try integerConvolution(call, call.input(0), call.optional(2), call.input(1), call.optional(3))
    return [try call.e.convert(y, to: .int32)]
  },
  OperatorEntry("QLinearConv", versions: 10...newestOpset, derivatives: .zero) { call in
    let e = call.e
    let w = try call.input(3)
    let channels = [w.shape.first ?? 1] + [Int](repeating: 1, count: max(0, w.rank - 2))
    func perChannel(_ v: Value) throws -> Value { v.shape.elementCount == 1 ? try e.reshape(v, []) : try e.reshape(v, channels) }
    var y = try integerConvolution(call, call.input(0), call.input(2), w, call.input(5))
    if let bias = call.optional(8) { y = try e.add(y, perChannel(e.convert(bias, to: .float32))) }
    let factor = try e.divide(e.multiply(call.input(1), perChannel(call.input(4))), call.input(6))
    return [try quantized(e.multiply(y, factor), zeroPoint: call.input(7), to: call.input(7).element, e)]
  },
]

/// saturate(round(x) + zero point), ties to even
private func quantized(
  _ x: Value, zeroPoint: Value?, to element: ElementType, saturates: Bool = true, _ e: Emitter
) throws -> Value {
  guard let (low, high) = integerRange(element) else {
    guard element.isMinifloat else { throw CetError(.unsupportedOperator, "quantization to \(element)") }
    return try e.emit(Convert(to: element, saturates: saturates), x)
  }
  var y = try e.unary(.round, x)
  if let zeroPoint { y = try e.add(y, e.convert(zeroPoint, to: x.element)) }
  y = try e.binary(.minimum, e.binary(.maximum, y, e.scalar(low, x.element)), e.scalar(high, x.element))
  return try e.convert(y, to: element)
}

private func integerRange(_ element: ElementType) -> (Double, Double)? {
  switch element {
  case .int8: (-128, 127)
  case .uint8: (0, 255)
  case .int16: (-32768, 32767)
  case .uint16: (0, 65535)
  case .int32: (-0x1p31, 0x1p31 - 1)
  case .int4: (-8, 7)
  case .uint4: (0, 15)
  case .int2: (-2, 1)
  case .uint2: (0, 3)
  default: nil
  }
}

/// A scale or zero point of the whole tensor, of one axis, or of blocks along an axis, ready to broadcast.
private func spread(_ v: Value, _ call: OperatorCall, over x: Value) throws -> Value {
  let e = call.e
  let block = try call.int("block_size", 0)
  if v.shape.elementCount == 1 && block == 0 { return try e.reshape(v, []) }
  let axis = try call.axis(call.int("axis", 1), rank: x.rank)
  if block == 0 {
    guard v.rank == 1, v.shape[0] == x.shape[axis] else {
      throw CetError(.shapeMismatch, "\(v.shape.shapeText) does not fit axis \(axis) of \(x.shape.shapeText)")
    }
    return try e.reshape(v, x.shape.indices.map { $0 == axis ? v.shape[0] : 1 })
  }
  guard v.rank == x.rank, block > 0, block < 1 << 31, v.shape[axis] == (x.shape[axis] + block - 1) / block else {
    throw CetError(.shapeMismatch, "\(v.shape.shapeText) are not blocks of \(block) along axis \(axis) of \(x.shape.shapeText)")
  }
  try e.reserve(x.shape[axis], "the blocks of axis \(axis)")
  return try e.emit(Gather(axis: axis), v, e.integers((0..<x.shape[axis]).map { $0 / block }))
}

/// Scales and zero points of the rows of a left operand stand in a column.
private func rowScale(_ v: Value, _ a: Value, _ e: Emitter) throws -> Value {
  v.rank == 1 && v.shape[0] > 1 && a.rank >= 2 ? try e.reshape(v, [v.shape[0], 1]) : v
}

/// (A − a₀)(B − b₀) in int32
private func integerProduct(_ a: Value, _ zeroA: Value?, _ b: Value, _ zeroB: Value?, _ e: Emitter) throws -> Value {
  func centred(_ x: Value, _ zero: Value?) throws -> Value {
    let wide = try e.convert(x, to: .int32)
    return try zero.map { try e.subtract(wide, e.convert($0, to: .int32)) } ?? wide
  }
  return try matMul(centred(a, zeroA.map { try rowScale($0, a, e) }), centred(b, zeroB), e)
}

private func integerConvolution(_ call: OperatorCall, _ x: Value, _ zeroX: Value?, _ w: Value, _ zeroW: Value?) throws -> Value {
  let e = call.e
  func centred(_ x: Value, _ zero: Value?, _ shape: [Int]) throws -> Value {
    let wide = try e.convert(x, to: .float32)
    guard let zero else { return wide }
    return try e.subtract(wide, e.reshape(e.convert(zero, to: .float32), zero.shape.elementCount == 1 ? [] : shape))
  }
  let perOutput = [w.shape.first ?? 1] + [Int](repeating: 1, count: max(0, w.rank - 1))
  let geometry = try convolutionGeometry(call.node, input: x.shape, weight: w.shape)
  return try e.emit(Convolve(.forward, geometry), centred(x, zeroX, []), centred(w, zeroW, perOutput))
}
