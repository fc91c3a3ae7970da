import CetGraph
import CetTensor

private let microsoft = "com.microsoft"

private func entry(_ type: String, _ lower: @escaping @Sendable (OperatorCall) throws -> [Value]) -> OperatorEntry {
  OperatorEntry(type, domain: microsoft, versions: 1...1, lower)
}

/// Fused operators that onnxruntime's optimizers and exporters write.
let microsoftOperators: [OperatorEntry] = [
  entry("Gelu") { call in [try gelu(call.input(0), tanh: false, call.e)] },
  entry("BiasGelu") { call in [try gelu(call.e.add(call.input(0), call.input(1)), tanh: false, call.e)] },
  entry("FastGelu") { call in
    let x = try call.optional(1).map { try call.e.add(call.input(0), $0) } ?? call.input(0)
    return [try gelu(x, tanh: true, call.e)]
  },
  // x·σ(αx)
  entry("QuickGelu") { call in
    let (x, e) = (try call.input(0), call.e)
    return [try e.multiply(x, e.unary(.sigmoid, e.scale(x, by: call.float("alpha", Double(Float(1.702))))))]
  },
  entry("SkipLayerNormalization") { call in
    let e = call.e
    let x = try skipped(call, bias: 4)
    let parts = try standardized(x, axes: [x.rank - 1], epsilon: call.float("epsilon", Double(Float(1e-12))), e)
    var y = try e.multiply(parts.y, call.input(2))
    if let beta = call.optional(3) { y = try e.add(y, beta) }
    return [y, parts.mean, parts.inverse, x]
  },
  entry("SkipSimplifiedLayerNormalization") { call in
    let x = try skipped(call, bias: 3)
    let (y, inverse) = try rootMeanSquareNormalized(x, axes: [x.rank - 1], epsilon: call.float("epsilon", Double(Float(1e-12))), call.e)
    return [try call.e.multiply(y, call.input(2)), inverse, inverse, x]
  },
  entry("SimplifiedLayerNormalization") { call in try simplifiedLayerNormalization(call) },
  OperatorEntry("SimplifiedLayerNormalization", versions: allOpsets) { call in try simplifiedLayerNormalization(call) },
  // The sum of the embeddings of words, positions and segments, normalized; then the mask's row sums
  entry("EmbedLayerNormalization") { call in
    let e = call.e
    let ids = try e.convert(call.input(0), to: .int64)
    guard ids.rank == 2 else { throw CetError(.shapeMismatch, "input_ids \(ids.shape.shapeText)") }
    func embedding(_ table: Int, _ indices: Value) throws -> Value { try e.emit(Gather(axis: 0), call.input(table), indices) }
    let positions = try call.optional(8).map { try e.convert($0, to: .int64) }
      ?? e.expand(e.reshape(e.ramp(ids.shape[1]), [1, ids.shape[1]]), ids.shape)
    var x = try e.add(embedding(2, ids), embedding(3, e.expand(positions, ids.shape)))
    if let segments = call.optional(1), call.has(4) { x = try e.add(x, embedding(4, e.convert(segments, to: .int64))) }
    let normal = try standardized(x, axes: [2], epsilon: call.float("epsilon", Double(Float(1e-12))), e).y
    let y = try e.add(e.multiply(normal, call.input(5)), call.input(6))
    let counts = try call.optional(7).map { try e.reshape(e.sum(e.convert($0, to: .int32), axes: [1]), [ids.shape[0]]) }
      ?? e.zeros(TensorType(.int32, [ids.shape[0]]))
    return [y, counts, x]
  },
  entry("FusedMatMul") { call in
    let e = call.e
    guard try call.int("transBatchA", 0) == 0, try call.int("transBatchB", 0) == 0 else {
      throw CetError(.unsupportedOperator, "transposed batch axes")
    }
    let y = try e.matrixProduct(
      call.input(0), call.input(1), transposeLeft: call.int("transA", 0) != 0, transposeRight: call.int("transB", 0) != 0)
    return [try e.scale(y, by: call.float("alpha", 1))]
  },
  entry("FusedGemm") { call in
    let e = call.e
    var y = try e.matrixProduct(
      call.input(0), call.input(1), transposeLeft: call.int("transA", 0) != 0, transposeRight: call.int("transB", 0) != 0)
    y = try e.scale(y, by: call.float("alpha", 1))
    if let c = call.optional(2) { y = try e.add(y, e.scale(c, by: call.float("beta", 1))) }
    return [try activated(y, call)]
  },
  // act(conv(x, w) + b + z)
  entry("FusedConv") { call in
    let (x, w, e) = (try call.input(0), try call.input(1), call.e)
    let geometry = try convolutionGeometry(call.node, input: x.shape, weight: w.shape)
    var y = try e.emit(Convolve(.forward, geometry), [x, w] + (call.optional(2).map { [$0] } ?? []))[0]
    if let z = call.optional(3) { y = try e.add(y, z) }
    return [try activated(y, call)]
  },
  entry("RotaryEmbedding") { call in
    let (x, e) = (try call.input(0), call.e)
    let (positions, cosine) = (try call.input(1), try call.input(2))
    let named = try call.int("num_heads", 0)
    let width = try call.int("rotary_embedding_dim", 0)
    guard x.rank == 3 || x.rank == 4, let half = cosine.shape.last, half > 0 else {
      throw CetError(.shapeMismatch, "input \(x.shape.shapeText), cache \(cosine.shape.shapeText)")
    }
    let heads = x.rank == 4 ? nil : named > 0 ? named : x.shape[2] / (width > 0 ? width : 2 * half)
    let (batch, rows) = (x.shape[0], x.shape[x.rank - 2])
    var places = positions
    if positions.shape.elementCount == 1 {  // the first position
      places = try e.add(e.reshape(e.convert(positions, to: .int64), [1, 1]), e.reshape(e.ramp(rows), [1, rows]))
      places = try e.expand(places, [batch, rows])
    }
    return [
      try rotaryEmbedding(
        x, cosine: cosine, sine: call.input(3), positions: places, heads: heads, width: width,
        interleaved: call.int("interleaved", 0) != 0, e)
    ]
  },
  entry("Attention") { call in try fusedAttention(call) },
  entry("MultiHeadAttention") { call in try multiHeadAttention(call) },
]

private func skipped(_ call: OperatorCall, bias: Int) throws -> Value {
  var x = try call.e.add(call.input(0), call.input(1))
  if let bias = call.optional(bias) { x = try call.e.add(x, bias) }
  guard x.rank > 0 else { throw CetError(.shapeMismatch, "normalization of a scalar") }
  return x
}

private func simplifiedLayerNormalization(_ call: OperatorCall) throws -> [Value] {
  let x = try call.input(0)
  let axis = try call.axis(call.int("axis", -1), rank: x.rank)
  let (y, inverse) = try rootMeanSquareNormalized(
    x, axes: Array(axis..<x.rank), epsilon: call.float("epsilon", Double(Float(1e-5))), call.e)
  return [try call.e.multiply(y, call.input(1)), inverse]
}

private func activated(_ y: Value, _ call: OperatorCall) throws -> Value {
  let e = call.e
  let coefficients = try call.floats("activation_params") ?? []
  switch try call.string("activation", "") {
  case "": return y
  case "Relu": return try e.unary(.relu, y)
  case "Tanh": return try e.unary(.tanh, y)
  case "Sigmoid": return try e.unary(.sigmoid, y)
  case "LeakyRelu":
    let slope = try coefficients.first ?? call.float("leaky_relu_alpha", call.float("alpha", 0.01))
    return try e.emit(Select(), e.compare(.greater, y, e.scalar(0, y.element)), y, e.scale(y, by: slope))
  case "Clip" where coefficients.count == 2:
    return try e.binary(.minimum, e.binary(.maximum, y, e.scalar(coefficients[0], y.element)), e.scalar(coefficients[1], y.element))
  case "HardSigmoid" where coefficients.count == 2:
    return try hardSigmoid(y, alpha: coefficients[0], beta: coefficients[1], e)
  case let other: throw CetError(.unsupportedOperator, "activation '\(other)'")
  }
}

/// A key mask of 1 for keys to attend: (B) lengths, (B, S) or (B, R, S) flags.
private func keyMask(_ mask: Value, batch: Int, columns: Int, hidden: Double, _ element: ElementType, _ e: Emitter) throws -> Value {
  let allowed: Value
  let wide = try e.convert(mask, to: .int64)
  switch mask.shape {
  case [batch]:
    allowed = try e.compare(
      .less, e.reshape(e.ramp(columns), [1, 1, 1, columns]), e.reshape(wide, [batch, 1, 1, 1]))
  case [batch, columns]: allowed = try e.compare(.greater, e.reshape(wide, [batch, 1, 1, columns]), e.scalar(0, .int64))
  case let shape where shape.count == 3 && shape[0] == batch && shape[2] == columns:
    allowed = try e.compare(.greater, e.reshape(wide, [batch, 1, shape[1], columns]), e.scalar(0, .int64))
  default: throw CetError(.unsupportedOperator, "a mask of shape \(mask.shape.shapeText)")
  }
  return try e.emit(Select(), allowed, e.scalar(0, element), e.scalar(hidden, element))
}

private func causalBias(_ rows: Int, _ columns: Int, hidden: Double, _ element: ElementType, _ e: Emitter) throws -> Value {
  try e.reserve(rows, "a mask of \(rows) rows")
  let i = try e.reshape(e.integers((0..<rows).map { $0 + columns - rows }), [rows, 1])
  let allowed = try e.compare(.lessOrEqual, e.ramp(columns), i)
  return try e.emit(Select(), allowed, e.scalar(0, element), e.scalar(hidden, element))
}

/// Self-attention with one packed projection (input, weights, bias, mask, past, attention bias).
private func fusedAttention(_ call: OperatorCall) throws -> [Value] {
  let e = call.e
  let (x, w) = (try call.input(0), try call.input(1))
  guard x.rank == 3, w.rank == 2, let heads = try call.int("num_heads"), heads > 0 else {
    throw CetError(.shapeMismatch, "input \(x.shape.shapeText), weights \(w.shape.shapeText)")
  }
  guard try call.int("do_rotary", 0) == 0, try call.int("past_present_share_buffer", 0) == 0 else {
    throw CetError(.unsupportedOperator, "rotary positions or a shared cache")
  }
  var projected = try matMul(x, w, e)
  if let bias = call.optional(2) { projected = try e.add(projected, bias) }
  let widths = try call.ints("qkv_hidden_sizes") ?? [Int](repeating: w.shape[1] / 3, count: 3)
  guard widths.count == 3, widths.reduce(0, +) == w.shape[1], widths.allSatisfy({ $0 > 0 }) else {
    throw CetError(.shapeMismatch, "qkv_hidden_sizes \(widths) do not fit weights \(w.shape.shapeText)")
  }
  var start = 0
  var parts = try widths.map { width in
    defer { start += width }
    return try splitHeads(e.slice(projected, axis: 2, from: start, count: width), heads, e)
  }
  if let past = call.optional(4) {
    guard past.rank == 5, past.shape[0] == 2 else { throw CetError(.shapeMismatch, "past \(past.shape.shapeText)") }
    for k in 0..<2 {
      let old = try e.reshape(e.slice(past, axis: 0, from: k, count: 1), Array(past.shape.dropFirst()))
      parts[k + 1] = try e.emit(Concatenate(axis: 2), [old, parts[k + 1]])[0]
    }
  }
  let (rows, columns) = (x.shape[1], parts[1].shape[2])
  let hidden = try call.float("mask_filter_value", -10000)
  var bias = try call.optional(3).map { try keyMask($0, batch: x.shape[0], columns: columns, hidden: hidden, x.element, e) }
  if try call.int("unidirectional", 0) != 0 { bias = try e.sum(bias, causalBias(rows, columns, hidden: hidden, x.element, e)) }
  bias = try e.sum(bias, call.optional(5))
  let scale = try call.float("scale") ?? 1 / Double(parts[0].shape[3]).squareRoot()
  let result = try scaledAttention(parts[0], parts[1], parts[2], bias: bias, scale: scale, e)
  let present = try call.node.outputs.count > 1
    ? e.emit(Concatenate(axis: 0), [parts[1], parts[2]].map { try e.reshape($0, [1] + $0.shape) })[0] : parts[1]
  return [try joinHeads(result.output, e), present]
}

/// (query, key, value, bias, key mask, attention bias, past key, past value); packed forms are refused.
private func multiHeadAttention(_ call: OperatorCall) throws -> [Value] {
  let e = call.e
  guard let heads = try call.int("num_heads"), heads > 0 else { throw CetError(.invalidModel, "num_heads is missing") }
  var q = try call.input(0)
  guard q.rank == 3, call.has(1), call.has(2), try call.input(1).rank >= 3 else { throw CetError(.unsupportedOperator, "packed query, key and value") }
  var (k, v) = (try call.input(1), try call.input(2))
  if let bias = call.optional(3) {
    let (a, b) = (q.shape[2], k.shape[k.rank - 1])
    guard k.rank == 3, v.rank == 3, bias.shape == [a + b + v.shape[2]] else {
      throw CetError(.shapeMismatch, "bias \(bias.shape.shapeText)")
    }
    q = try e.add(q, e.slice(bias, axis: 0, from: 0, count: a))
    k = try e.add(k, e.slice(bias, axis: 0, from: a, count: b))
    v = try e.add(v, e.slice(bias, axis: 0, from: a + b, count: v.shape[2]))
  }
  q = try splitHeads(q, heads, e)
  if k.rank == 3 { k = try splitHeads(k, heads, e) }
  if v.rank == 3 { v = try splitHeads(v, heads, e) }
  if let pastKey = call.optional(6), let pastValue = call.optional(7) {
    k = try e.emit(Concatenate(axis: 2), [pastKey, k])[0]
    v = try e.emit(Concatenate(axis: 2), [pastValue, v])[0]
  }
  guard k.rank == 4 else { throw CetError(.shapeMismatch, "key \(k.shape.shapeText)") }
  let hidden = try call.float("mask_filter_value", -10000)
  var bias = try call.optional(4).map { try keyMask($0, batch: q.shape[0], columns: k.shape[2], hidden: hidden, q.element, e) }
  if try call.int("unidirectional", 0) != 0 { bias = try e.sum(bias, causalBias(q.shape[2], k.shape[2], hidden: hidden, q.element, e)) }
  bias = try e.sum(bias, call.optional(5))
  let named = try call.float("scale", 0)
  let scale = named == 0 ? 1 / Double(q.shape[3]).squareRoot() : named
  let result = try scaledAttention(q, k, v, bias: bias, scale: scale, e)
  return [try joinHeads(result.output, e), k, v]
}
