import CetGraph
import CetTensor

let attentionOperators: [OperatorEntry] = [
  OperatorEntry("Attention", versions: 23...newestOpset) { call in try attention(call) },
  OperatorEntry("RotaryEmbedding", versions: 23...newestOpset) { call in
    let x = try call.input(0)
    return [
      try rotaryEmbedding(
        x, cosine: call.input(1), sine: call.input(2), positions: call.optional(3),
        heads: x.rank == 3 ? call.int("num_heads", 0) : nil, width: call.int("rotary_embedding_dim", 0),
        interleaved: call.int("interleaved", 0) != 0, call.e)
    ]
  },
  // state ← state·e^g + k ⊗ β(v − stateᵀk);  y = scale·stateᵀq, unrolled over time
  OperatorEntry("LinearAttention", versions: 27...newestOpset) { call in try linearAttention(call) },
]

/// (B, S, heads·d) → (B, heads, S, d)
func splitHeads(_ x: Value, _ heads: Int, _ e: Emitter) throws -> Value {
  guard x.rank == 3, heads > 0, x.shape[2] % heads == 0 else {
    throw CetError(.shapeMismatch, "\(x.shape.shapeText) does not split into \(heads) heads")
  }
  return try e.transpose(e.reshape(x, [x.shape[0], x.shape[1], heads, x.shape[2] / heads]), [0, 2, 1, 3])
}

/// (B, heads, S, d) → (B, S, heads·d)
func joinHeads(_ x: Value, _ e: Emitter) throws -> Value {
  try e.reshape(e.transpose(x, [0, 2, 1, 3]), [x.shape[0], x.shape[2], x.shape[1] * x.shape[3]])
}

/// The stages of an attention.
struct AttentionResult {
  var output: Value
  var scores: Value
  var capped: Value
  var biased: Value
  var probabilities: Value
}

/// softmax(cap(scale·Q·Kᵀ) + bias)·V on (B, heads, S, d); key heads are shared by groups of query heads. Rows
/// whose bias is −∞ throughout give 0.
func scaledAttention(
  _ q: Value, _ k: Value, _ v: Value, bias: Value?, scale: Double, softcap: Double = 0, precision: ElementType? = nil,
  _ e: Emitter
) throws -> AttentionResult {
  guard q.rank == 4, k.rank == 4, v.rank == 4, k.shape[1] > 0, q.shape[1] % k.shape[1] == 0,
    k.shape[1] == v.shape[1], q.shape[3] == k.shape[3], k.shape[2] == v.shape[2]
  else {
    throw CetError(
      .shapeMismatch, "query \(q.shape.shapeText), key \(k.shape.shapeText) and value \(v.shape.shapeText) do not fit")
  }
  let (batch, heads, rows, columns) = (q.shape[0], q.shape[1], q.shape[2], k.shape[2])
  let groups = heads / k.shape[1]
  // Query heads of one key head are stacked along the rows: one product serves them all.
  func stacked(_ x: Value) throws -> Value { try e.reshape(x, [batch, k.shape[1], groups * rows, x.shape[3]]) }
  let root = scale.magnitude.squareRoot()
  let product = try e.matrixProduct(stacked(e.scale(q, by: scale < 0 ? -root : root)), e.scale(k, by: root), transposeRight: true)
  let scores = try e.reshape(product, [batch, heads, rows, columns])
  let capped = try softcap > 0
    ? e.scale(e.unary(.tanh, e.scale(scores, by: 1 / softcap)), by: softcap) : scores
  var biased = capped
  var hidden: Value?
  if let bias {
    biased = try e.expand(e.add(capped, bias), scores.shape)
    hidden = try hiddenRows(bias, e)
  }
  var logits = try e.convert(biased, to: precision ?? biased.element)
  if let hidden { logits = try e.emit(Select(), hidden, e.scalar(0, logits.element), logits) }
  var p = try e.convert(e.emit(Softmax(), logits), to: q.element)
  if let hidden { p = try e.emit(Select(), hidden, e.scalar(0, p.element), p) }
  let y = try e.reshape(e.matrixProduct(stacked(p), v), [batch, heads, rows, v.shape[3]])
  return AttentionResult(output: y, scores: scores, capped: capped, biased: biased, probabilities: p)
}

/// Where the bias is −∞ along the whole last axis; nil when nowhere.
private func hiddenRows(_ bias: Value, _ e: Emitter) throws -> Value? {
  guard bias.rank > 0, bias.count > 0 else { return nil }
  let peak = try e.emit(Extremum(axes: [bias.rank - 1], largest: true), bias)
  let hidden = try e.compare(.equal, peak, e.scalar(-.infinity, bias.element))
  if let known = e.known(hidden), try !known.array(as: Bool.self).contains(true) { return nil }
  return hidden
}

private func attention(_ call: OperatorCall) throws -> [Value] {
  let e = call.e
  var (q, k, v) = (try call.input(0), try call.input(1), try call.input(2))
  let flat = q.rank == 3
  if flat {
    let (heads, keyHeads) = (try call.int("q_num_heads", 0), try call.int("kv_num_heads", 0))
    (q, k, v) = (try splitHeads(q, heads, e), try splitHeads(k, keyHeads, e), try splitHeads(v, keyHeads, e))
  }
  guard q.rank == 4, k.rank == 4, v.rank == 4 else {
    throw CetError(.shapeMismatch, "query \(q.shape.shapeText), key \(k.shape.shapeText), value \(v.shape.shapeText)")
  }
  var offset: Value = try e.scalar(0, .int64)
  if let past = call.optional(4), let pastValue = call.optional(5) {
    k = try e.emit(Concatenate(axis: 2), [past, k])[0]
    v = try e.emit(Concatenate(axis: 2), [pastValue, v])[0]
    offset = try e.scalar(Double(past.shape.count == 4 ? past.shape[2] : 0), .int64)
  }
  let (rows, columns) = (q.shape[2], k.shape[2])
  let i = try e.reshape(e.ramp(rows), [1, 1, rows, 1])
  let j = try e.reshape(e.ramp(columns), [1, 1, 1, columns])
  var allowed: [Value] = []
  if let lengths = call.optional(6) {
    let counts = try e.reshape(e.convert(lengths, to: .int64), [lengths.shape.elementCount, 1, 1, 1])
    allowed.append(try e.compare(.less, j, counts))
    if call.optional(4) == nil { offset = try e.subtract(counts, e.scalar(Double(rows), .int64)) }
  }
  let place = try e.add(i, offset)
  let (left, right) = (try call.int("left_window_size", -1), try call.int("right_window_size", -1))
  if try call.int("is_causal", 0) != 0 { allowed.append(try e.compare(.lessOrEqual, j, place)) }
  if left >= 0 { allowed.append(try e.compare(.lessOrEqual, place, e.add(j, e.scalar(Double(left), .int64)))) }
  if right >= 0 { allowed.append(try e.compare(.lessOrEqual, j, e.add(place, e.scalar(Double(right), .int64)))) }
  var bias: Value?
  func hide(_ condition: Value) throws {
    bias = try e.sum(bias, e.emit(Select(), condition, e.scalar(0, q.element), e.scalar(-.infinity, q.element)))
  }
  if let joint = try allowed.dropFirst().reduce(allowed.first, { try $0.map { [second = $1] in try e.emit(Bitwise(.and), $0, second) } }) {
    try hide(joint)
  }
  if let mask = call.optional(3) {
    if mask.element == .bool { try hide(padded(mask, columns, e)) } else { bias = try e.sum(bias, padded(mask, columns, e)) }
  }
  let scale = try call.float("scale") ?? 1 / Double(q.shape[3]).squareRoot()
  let result = try scaledAttention(
    q, k, v, bias: bias, scale: scale, softcap: call.float("softcap", 0), precision: call.elementType("softmax_precision"), e)
  let stages = [result.scores, result.capped, result.biased, result.probabilities]
  let mode = try call.int("qk_matmul_output_mode", 0)
  guard stages.indices.contains(mode) else { throw CetError(.invalidModel, "qk_matmul_output_mode \(mode)") }
  return [try flat ? joinHeads(result.output, e) : result.output, k, v, stages[mode]]
}

/// A mask shorter than the keys hides the rest.
private func padded(_ mask: Value, _ columns: Int, _ e: Emitter) throws -> Value {
  guard let width = mask.shape.last, width != 1 || columns == 1, width < columns else { return mask }
  var rest = mask.shape
  rest[mask.rank - 1] = columns - width
  let fill = try e.expand(e.scalar(mask.element == .bool ? 0 : -.infinity, mask.element), rest)
  return try e.emit(Concatenate(axis: mask.rank - 1), [mask, fill])[0]
}

/// (x₁, x₂) ↦ (x₁ cos − x₂ sin, x₁ sin + x₂ cos) on the first `width` entries of every head.
func rotaryEmbedding(
  _ input: Value, cosine: Value, sine: Value, positions: Value?, heads: Int?, width named: Int, interleaved: Bool,
  _ e: Emitter
) throws -> Value {
  let x = try heads.map { try splitHeads(input, $0, e) } ?? input  // (B, heads, S, d)
  guard x.rank == 4 else { throw CetError(.shapeMismatch, "input \(input.shape.shapeText)") }
  let (batch, rows, size) = (x.shape[0], x.shape[2], x.shape[3])
  let width = named == 0 ? size : named
  guard width % 2 == 0, width <= size else { throw CetError(.shapeMismatch, "rotary_embedding_dim \(width) of \(size)") }
  func table(_ cache: Value) throws -> Value {
    let picked = try positions.map { try e.emit(Gather(axis: 0), cache, e.convert($0, to: .int64)) } ?? cache
    guard picked.shape.last == width / 2, picked.count == batch * rows * width / 2 || picked.count == rows * width / 2 else {
      throw CetError(.shapeMismatch, "cache \(cache.shape.shapeText) does not fit \(x.shape.shapeText)")
    }
    return try e.reshape(picked, [picked.count / max(rows * width / 2, 1), 1, rows, width / 2])
  }
  let (c, s) = (try table(cosine), try table(sine))
  let turned = try e.slice(x, axis: 3, from: 0, count: width)
  let half = [batch, x.shape[1], rows, width / 2]
  func part(_ index: Int) throws -> Value {
    if interleaved { return try e.emit(Slice(starts: [0, 0, 0, index], steps: [1, 1, 1, 2], sizes: half), turned) }
    return try e.slice(turned, axis: 3, from: index * width / 2, count: width / 2)
  }
  let (a, b) = (try part(0), try part(1))
  let first = try e.subtract(e.multiply(c, a), e.multiply(s, b))
  let second = try e.add(e.multiply(s, a), e.multiply(c, b))
  var y: Value
  if interleaved {
    let pairs = try [first, second].map { try e.reshape($0, half + [1]) }
    y = try e.reshape(e.emit(Concatenate(axis: 4), pairs)[0], turned.shape)
  } else {
    y = try e.emit(Concatenate(axis: 3), [first, second])[0]
  }
  if width < size { y = try e.emit(Concatenate(axis: 3), [y, e.slice(x, axis: 3, from: width, count: size - width)])[0] }
  return try heads == nil ? y : joinHeads(y, e)
}

private func linearAttention(_ call: OperatorCall) throws -> [Value] {
  let e = call.e
  let rule = try call.string("update_rule", "gated_delta")
  let (heads, keyHeads) = (try call.int("q_num_heads", 0), try call.int("kv_num_heads", 0))
  let element = try call.input(0).element
  func split(_ index: Int, _ heads: Int) throws -> Value {
    try splitHeads(e.convert(call.input(index), to: .float32), heads, e)
  }
  let (q, k, v) = (try split(0, heads), try split(1, keyHeads), try split(2, keyHeads))
  let (batch, time, size, depth) = (q.shape[0], q.shape[2], k.shape[3], v.shape[3])
  guard keyHeads > 0, heads % keyHeads == 0 else { throw CetError(.shapeMismatch, "\(heads) heads for \(keyHeads) key heads") }
  let stateShape = [batch, keyHeads, size, depth]
  var state = try call.optional(3).map { try e.convert($0, to: .float32) } ?? e.zeros(TensorType(.float32, stateShape))
  let decay = try rule.hasPrefix("gated") ? split(4, keyHeads) : nil
  let beta = try rule.hasSuffix("delta") ? split(5, call.input(5).shape.last == 1 ? 1 : keyHeads) : nil
  let named = try call.float("scale", 0)
  let scale = named == 0 ? 1 / Double(size).squareRoot() : named
  var outputs: [Value] = []
  for t in try e.turns(time) {
    func at(_ x: Value) throws -> Value { try e.slice(x, axis: 2, from: t, count: 1) }
    if let decay { state = try e.multiply(state, e.transpose(e.unary(.exp, at(decay)), [0, 1, 3, 2])) }
    let key = try at(k)
    var value = try at(v)
    if let beta { value = try e.multiply(at(beta), e.subtract(value, e.matrixProduct(key, state))) }
    state = try e.add(state, e.matrixProduct(key, value, transposeLeft: true))
    let query = try e.reshape(at(q), [batch, keyHeads, heads / keyHeads, size])
    outputs.append(try e.reshape(e.matrixProduct(query, state), [batch, heads, 1, depth]))
  }
  let y = try e.scale(e.emit(Concatenate(axis: 2), outputs)[0], by: scale)
  return [
    try e.convert(joinHeads(y, e), to: element), try e.convert(state, to: call.optional(3)?.element ?? element),
  ]
}
