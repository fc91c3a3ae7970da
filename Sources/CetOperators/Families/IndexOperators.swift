import CetGraph
import CetTensor

let indexOperators: [OperatorEntry] = [
  OperatorEntry("Gather") { call in
    let x = try call.input(0)
    let axis = try call.axis(call.int("axis", 0), rank: x.rank)
    return [try call.e.emit(Gather(axis: axis), x, call.e.convert(call.input(1), to: .int64))]
  },
  OperatorEntry("GatherElements", versions: 11...newestOpset) { call in
    let x = try call.input(0)
    let axis = try call.axis(call.int("axis", 0), rank: x.rank)
    return [try gatherElements(x, call.input(1), axis: axis, call.e)]
  },
  OperatorEntry("GatherND", versions: 11...newestOpset) { call in
    let (x, e) = (try call.input(0), call.e)
    let indices = try e.convert(call.input(1), to: .int64)
    return [try e.emit(Take(), x, e.emit(TupleIndices(of: x.shape, batchAxes: call.int("batch_dims", 0)), indices))]
  },
  OperatorEntry("ScatterElements", versions: 11...newestOpset) { call in try scatterElements(call) },
  OperatorEntry("Scatter", versions: 9...10) { call in try scatterElements(call) },
  OperatorEntry("ScatterND", versions: 11...newestOpset) { call in
    let (x, e) = (try call.input(0), call.e)
    let places = try e.emit(TupleIndices(of: x.shape), e.convert(call.input(1), to: .int64))
    return [try scattered(x, call.input(2), places, call.string("reduction", "none"), e)]
  },
  // Writes `update` into the cache from write_indices[batch] on.
  OperatorEntry("TensorScatter", versions: 24...newestOpset) { call in
    let (cache, update, e) = (try call.input(0), try call.input(1), call.e)
    let axis = try call.axis(call.int("axis", -2), rank: cache.rank)
    let circular = try call.string("mode", "linear") == "circular"
    let size = cache.shape[axis]
    guard axis > 0, update.rank == cache.rank, size > 0, update.shape[0] == cache.shape[0], update.shape[axis] <= size else {
      throw CetError(.shapeMismatch, "update \(update.shape.shapeText) does not fit the cache \(cache.shape.shapeText)")
    }
    var places = try e.steps(update.shape, axis: axis)
    if let first = call.optional(2) {
      guard first.shape == [cache.shape[0]] else {
        throw CetError(.shapeMismatch, "write_indices \(first.shape.shapeText) for a cache \(cache.shape.shapeText)")
      }
      places = try e.add(places, e.along(0, e.convert(first, to: .int64), rank: cache.rank))
      if circular {
        let end = try e.scalar(Double(size), .int64)
        places = try e.emit(Select(), e.compare(.less, places, end), places, e.subtract(places, end))
      }
    }
    let elements = try e.emit(ElementIndices(axis: axis, of: cache.shape), e.expand(places, update.shape))
    return [try scattered(cache, update, elements, "none", e)]
  },
  // off + (on − off)·[index = position]
  OperatorEntry("OneHot", versions: 9...newestOpset) { call in
    let (values, e) = (try call.input(2), call.e)
    let depth = try call.knownInt(1, "depth")
    guard depth >= 0, depth < 1 << 24, values.shape == [2] else { throw CetError(.shapeMismatch, "depth \(depth) or values \(values.shape.shapeText)") }
    var indices = try e.convert(call.input(0), to: .int64)
    let axis = try call.axis(call.int("axis", -1), rank: indices.rank + 1)
    indices = try e.emit(
      Select(), e.compare(.less, indices, e.scalar(0, .int64)), e.add(indices, e.scalar(Double(depth), .int64)), indices)
    var (spread, line) = (indices.shape, [Int](repeating: 1, count: indices.rank + 1))
    spread.insert(1, at: axis)
    line[axis] = depth
    try e.reserve(values.element, spread.indices.map { $0 == axis ? depth : spread[$0] })
    let hit = try e.compare(.equal, e.reshape(indices, spread), e.reshape(e.ramp(depth), line))
    func value(_ index: Int) throws -> Value { try e.reshape(e.emit(Slice(starts: [index], steps: [1], sizes: [1]), values), []) }
    return [try e.emit(Select(), hit, value(1), value(0))]
  },
  OperatorEntry("TopK") { call in
    let (x, e) = (try call.input(0), call.e)
    let axis = try call.axis(call.int("axis", -1), rank: x.rank)
    guard let k = try call.opset >= 10 ? call.knownInts(1, "k").first : call.int("k") else {
      throw CetError(.invalidModel, "k is missing")
    }
    let places = try e.emit(TopPositions(axis: axis, count: k, largest: call.int("largest", 1) != 0), x)
    return [try gatherElements(x, places, axis: axis, e), places]
  },
  argExtremum("ArgMax", largest: true), argExtremum("ArgMin", largest: false),
  OperatorEntry("Hardmax", derivatives: .zero) { call in
    let (x, e) = (try call.input(0), call.e)
    let axis = try call.axis(call.int("axis", call.opset < 13 ? 1 : -1), rank: x.rank)
    // Before opset 13 all axes from `axis` on count as one.
    let flat = call.opset < 13 ? [x.shape[..<axis].reduce(1, *), x.shape[axis...].reduce(1, *)] : x.shape
    let along = call.opset < 13 ? 1 : axis
    let best = try e.emit(ArgExtremum(axis: along, largest: true), e.reshape(x, flat))
    var line = flat.map { _ in 1 }
    line[along] = flat[along]
    let hit = try e.compare(.equal, best, e.reshape(e.ramp(flat[along]), line))
    return [try e.reshape(e.convert(hit, to: x.element), x.shape)]
  },
  OperatorEntry("NonZero", versions: 9...newestOpset, derivatives: .zero) { call in
    let (input, e) = (try call.known(0, "the input, which gives the shape of the result"), call.e)
    try e.foresee(entries: input.count, width: 1, work: 4, "flags of \(input.shape.shapeText)")
    let tensor = try Conversion.convert(input, to: .bool, e.context).rowMajor()
    let (flags, shape) = (tensor.elements(as: Bool.self), tensor.shape)
    var count = 0
    try e.context.pieces(tensor.count) { piece in
      for place in piece where flags[place] { count += 1 }
    }
    try e.foresee(entries: .saturatingProduct(count, shape.count), width: 8, work: 8, "\(count) places that are not zero")
    try e.reserve([TensorType(.int64, [shape.count, count])], isComputed: true)
    let result = try Tensor(uninitialized: .int64, [shape.count, count])
    let (places, strides) = (result.elements(as: Int64.self), shape.rowMajorStrides)
    var hit = 0
    try e.context.pieces(tensor.count, eachOf: max(1, shape.count)) { piece in
      for place in piece where flags[place] {
        for axis in shape.indices { places[axis * count + hit] = Int64(place / strides[axis] % shape[axis]) }
        hit += 1
      }
    }
    return [e.constant(result)]
  },
  OperatorEntry("Compress", versions: 9...newestOpset) { call in
    let e = call.e
    var x = try call.input(0)
    let condition = try call.known(1, "condition")
    try e.foresee(entries: condition.count, width: 32, work: 8, "flags of \(condition.shape.shapeText)")
    let flags = try condition.array(as: Bool.self)
    var axis = 0
    if let named = try call.int("axis") {
      axis = try call.axis(named, rank: x.rank)
    } else {
      x = try e.reshape(x, [x.shape.elementCount])
    }
    return [try e.emit(Gather(axis: axis), x, e.integers(flags.indices.filter { flags[$0] }))]
  },
  OperatorEntry("Unique", versions: 11...newestOpset) { call in try unique(call) },
  OperatorEntry("CumSum", versions: 11...newestOpset) { call in
    let x = try call.input(0)
    let axis = try call.axis(call.knownInt(1, "axis"), rank: x.rank)
    return [
      try call.e.emit(
        RunningSum(axis: axis, exclusive: call.int("exclusive", 0) != 0, reversed: call.int("reverse", 0) != 0), x)
    ]
  },
  // yᵢ = yᵢ₋₁·xᵢ, unrolled
  OperatorEntry("CumProd", versions: 26...newestOpset) { call in
    let (x, e) = (try call.input(0), call.e)
    let axis = try call.axis(call.knownInt(1, "axis"), rank: x.rank)
    let (exclusive, reversed) = (try call.int("exclusive", 0) != 0, try call.int("reverse", 0) != 0)
    guard x.shape[axis] > 0 else { return [x] }
    var parts: [Value] = []
    var running: Value?
    for step in try e.turns(x.shape[axis]) {
      let part = try e.slice(x, axis: axis, from: reversed ? x.shape[axis] - 1 - step : step, count: 1)
      let before = try running ?? e.expand(e.scalar(1, x.element), part.shape)
      let after = try running.map { try e.multiply($0, part) } ?? part
      parts.append(exclusive ? before : after)
      running = after
    }
    return [try e.emit(Concatenate(axis: axis), reversed ? parts.reversed() : parts)[0]]
  },
  OperatorEntry("Trilu", versions: 14...newestOpset) { call in
    let (x, e) = (try call.input(0), call.e)
    guard x.rank >= 2 else { throw CetError(.shapeMismatch, "a triangle of \(x.shape.shapeText)") }
    let k = try call.has(1) ? call.knownInt(1, "k") : 0
    let upper = try call.int("upper", 1) != 0
    let kept = try e.indices(Array(x.shape.suffix(2))) { upper ? ($0[1] - $0[0] >= k ? 1 : 0) : ($0[1] - $0[0] <= k ? 1 : 0) }
    return [try e.mask(e.convert(kept, to: .bool), x)]
  },
  OperatorEntry("EyeLike", versions: 9...newestOpset, derivatives: .zero) { call in
    let (x, e) = (try call.input(0), call.e)
    guard x.rank == 2 else { throw CetError(.shapeMismatch, "an identity of \(x.shape.shapeText)") }
    let element = try call.elementType("dtype") ?? x.element
    try e.reserve(element, x.shape)
    // No index is as large as this.
    let k = min(max(try call.int("k", 0), -1 << 40), 1 << 40)
    let (rows, columns) = (try e.steps(x.shape, axis: 0), try e.steps(x.shape, axis: 1))
    return [try e.convert(e.compare(.equal, columns, e.add(rows, e.scalar(Double(k), .int64))), to: element)]
  },
  // Step t < length of a sample comes from step length − 1 − t.
  OperatorEntry("ReverseSequence", versions: 10...newestOpset) { call in
    let (x, e) = (try call.input(0), call.e)
    let (batch, time) = (try call.int("batch_axis", 1), try call.int("time_axis", 0))
    let lengths = try e.convert(call.input(1), to: .int64)
    guard x.shape.indices.contains(batch), x.shape.indices.contains(time), batch != time, lengths.shape == [x.shape[batch]] else {
      throw CetError(.shapeMismatch, "sequence_lens \(lengths.shape.shapeText) do not fit \(x.shape.shapeText)")
    }
    let (steps, ends) = (try e.steps(x.shape, axis: time), try e.along(batch, lengths, rank: x.rank))
    let mirrored = try e.subtract(e.subtract(ends, e.scalar(1, .int64)), steps)
    let places = try e.emit(Select(), e.compare(.less, steps, ends), mirrored, steps)
    return [try gatherElements(x, e.expand(places, x.shape), axis: time, e)]
  },
]

extension Emitter {
  /// An int64 constant whose elements are computed from their positions.
  func indices(_ shape: [Int], _ value: ([Int]) -> Int) throws -> Value {
    guard let count = shape.validatedCount else { throw CetError(.shapeMismatch, "shape \(shape.shapeText) is too large") }
    try reserve(count, "an index of shape \(shape.shapeText)")
    try spend(.saturatingProduct(count, 16))
    var position = [Int](repeating: 0, count: shape.count)
    let result = try Tensor(uninitialized: .int64, shape)
    let values = result.elements(as: Int64.self)
    try context.pieces(count, eachOf: 8) { piece in
      for place in piece {
        values[place] = Int64(value(position))
        advance(&position, shape)
      }
    }
    return constant(result)
  }

  /// The positions along an axis, ready to broadcast over `shape`.
  func steps(_ shape: [Int], axis: Int) throws -> Value {
    try along(axis, ramp(shape[axis]), rank: shape.count)
  }

  /// A vector turned along an axis.
  func along(_ axis: Int, _ vector: Value, rank: Int) throws -> Value {
    var line = [Int](repeating: 1, count: rank)
    line[axis] = vector.shape.elementCount
    return try reshape(vector, line)
  }

  /// `count` rows along an axis.
  func slice(_ x: Value, axis: Int, from start: Int, count: Int) throws -> Value {
    guard x.shape.indices.contains(axis) else {
      throw CetError(.shapeMismatch, "a slice along axis \(axis) of \(x.shape.shapeText)")
    }
    if start == 0 && count == x.shape[axis] { return x }
    var (starts, sizes) = (x.shape.map { _ in 0 }, x.shape)
    starts[axis] = start
    sizes[axis] = count
    return try emit(Slice(starts: starts, steps: x.shape.map { _ in 1 }, sizes: sizes), x)
  }
}

func gatherElements(_ x: Value, _ indices: Value, axis: Int, _ e: Emitter) throws -> Value {
  try e.emit(Take(), x, e.emit(ElementIndices(axis: axis, of: x.shape), e.convert(indices, to: .int64)))
}

private func argExtremum(_ type: String, largest: Bool) -> OperatorEntry {
  OperatorEntry(type, derivatives: .zero) { call in
    let (x, e) = (try call.input(0), call.e)
    let axis = try call.axis(call.int("axis", 0), rank: x.rank)
    let kept = try e.emit(ArgExtremum(axis: axis, largest: largest, last: call.int("select_last_index", 0) != 0), x)
    guard try call.int("keepdims", 1) == 0 else { return [kept] }
    var shape = x.shape
    shape.remove(at: axis)
    return [try e.reshape(kept, shape)]
  }
}

private func scatterElements(_ call: OperatorCall) throws -> [Value] {
  let (x, e) = (try call.input(0), call.e)
  let axis = try call.axis(call.int("axis", 0), rank: x.rank)
  let places = try e.emit(ElementIndices(axis: axis, of: x.shape), e.convert(call.input(1), to: .int64))
  return [try scattered(x, call.input(2), places, call.string("reduction", "none"), e)]
}

/// Combines updates into x at element indices. Sums go through the transpose of `Take`. The other reductions
/// replace elements; where an index comes more than once, its occurrences take turns in their order.
private func scattered(_ x: Value, _ updates: Value, _ places: Value, _ reduction: String, _ e: Emitter) throws -> Value {
  guard updates.shape == places.shape else {
    throw CetError(.shapeMismatch, "updates \(updates.shape.shapeText) do not fit indices \(places.shape.shapeText)")
  }
  if reduction == "add" { return try e.add(x, e.emit(ScatterAdd(into: x.shape), updates, places)) }
  let functions: [String: Binary.Function] = ["mul": .multiply, "max": .maximum, "min": .minimum]
  guard reduction == "none" || functions[reduction] != nil else {
    throw CetError(.unsupportedOperator, "reduction '\(reduction)'")
  }
  guard let known = e.known(places) else {
    guard reduction == "none" else {
      throw CetError(.unsupportedOperator, "reduction '\(reduction)' with indices that depend on the data")
    }
    return try e.emit(Replace(), x, updates, places)
  }
  try e.foresee(entries: known.count, width: 96, work: 64, "turns of \(known.count) updates")
  let index = try known.array(as: Int64.self)
  var turn: [Int64: Int] = [:]
  var rounds: [[Int]] = []
  for (position, place) in index.enumerated() {
    if position & 0xFFFF == 0 { try e.context.interruption.check() }
    let round = reduction == "none" ? 0 : turn[place, default: 0]
    turn[place] = round + 1
    if round == rounds.count { rounds.append([]) }
    rounds[round].append(position)
  }
  if reduction == "none", var all = rounds.first {  // of equal indices the last one is written
    var seen: Set<Int64> = []
    all = all.reversed().filter { seen.insert(index[$0]).inserted }.reversed()
    rounds = [all]
  }
  var result = x
  for round in rounds {
    let whole = round.count == index.count
    let target = try whole ? places : e.integers(round.map { Int(index[$0]) })
    var update = try whole ? updates : e.emit(Take(), updates, e.integers(round))
    if let function = functions[reduction] { update = try e.binary(function, e.emit(Take(), result, target), update) }
    result = try e.emit(Replace(), result, update, target)
  }
  return result
}

/// Unique elements, or unique slices along an axis; sorted or in the order of first occurrence.
private func unique(_ call: OperatorCall) throws -> [Value] {
  let e = call.e
  var x = try call.input(0)
  _ = try call.known(0, "the input, which gives the shape of the result")
  var axis = 0
  if let named = try call.int("axis") {
    axis = try call.axis(named, rank: x.rank)
  } else {
    x = try e.reshape(x, [x.shape.elementCount])
  }
  guard let tensor = e.known(x) else { throw CetError(.internal, "a constant did not fold") }
  let (size, inner) = (x.shape[axis], x.shape[(axis + 1)...].reduce(1, *))
  let outer = x.shape[..<axis].reduce(1, *)
  // Every row as an array and as a key.
  try e.foresee(entries: tensor.count, width: 32, work: 8, "values of \(x.shape.shapeText)")
  try e.foresee(entries: size, width: 128, work: 256, "\(size) rows")
  let values = try Conversion.convert(tensor, to: .float64, e.context).array(as: Double.self)
  let rows = (0..<size).map { row in
    (0..<outer).flatMap { o in (0..<inner).map { values[(o * size + row) * inner + $0] } }
  }
  var number: [[Double]: Int] = [:]
  var firsts: [Int] = []
  for (row, key) in rows.enumerated() {
    if row & 0xFFFF == 0 { try e.context.interruption.check() }
    guard number[key] == nil else { continue }
    number[key] = firsts.count
    firsts.append(row)
  }
  if try call.int("sorted", 1) != 0 {
    firsts.sort { rows[$0].lexicographicallyPrecedes(rows[$1]) }
    for (position, row) in firsts.enumerated() { number[rows[row]] = position }
  }
  let inverse = rows.map { number[$0] ?? 0 }
  var counts = [Int](repeating: 0, count: firsts.count)
  for position in inverse { counts[position] += 1 }
  let picked = try e.integers(firsts)
  return [try e.emit(Gather(axis: axis), x, picked), picked, try e.integers(inverse), try e.integers(counts)]
}
