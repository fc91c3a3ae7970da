import CetGraph
import CetTensor

let movementOperators: [OperatorEntry] = [
  OperatorEntry("Reshape") { call in
    let x = try call.input(0)
    var shape = try call.knownInts(1, "shape")
    let keepsZero = try call.int("allowzero", 0) == 1
    for axis in shape.indices where shape[axis] == 0 && !keepsZero {
      guard axis < x.rank else { throw CetError(.shapeMismatch, "shape \(shape) copies axis \(axis) of \(x.shape.shapeText)") }
      shape[axis] = x.shape[axis]
    }
    if let free = shape.firstIndex(of: -1) {
      let rest = shape.enumerated().reduce(1) { $1.offset == free ? $0 : $0 &* $1.element }
      let count = x.shape.elementCount
      guard rest > 0, count % rest == 0 else {
        throw CetError(.shapeMismatch, "cannot reshape \(x.shape.shapeText) to \(shape)")
      }
      shape[free] = count / rest
    }
    return [try call.e.reshape(x, shape)]
  },
  OperatorEntry("Flatten") { call in
    let x = try call.input(0)
    let raw = try call.int("axis", 1)
    let axis = raw < 0 ? raw + x.rank : raw
    guard (0...x.rank).contains(axis) else { throw CetError(.shapeMismatch, "axis \(raw) is outside rank \(x.rank)") }
    return [try call.e.reshape(x, [x.shape[..<axis].reduce(1, *), x.shape[axis...].reduce(1, *)])]
  },
  OperatorEntry("Squeeze") { call in
    let x = try call.input(0)
    let named = try call.intsFromAttributeOrInput("axes", 1)
    let axes = try named.map { try call.axes($0, rank: x.rank) } ?? x.shape.indices.filter { x.shape[$0] == 1 }
    guard axes.allSatisfy({ x.shape[$0] == 1 }) else {
      throw CetError(.shapeMismatch, "cannot squeeze axes \(axes) of \(x.shape.shapeText)")
    }
    return [try call.e.reshape(x, x.shape.indices.filter { !axes.contains($0) }.map { x.shape[$0] })]
  },
  OperatorEntry("Unsqueeze") { call in
    let x = try call.input(0)
    guard let named = try call.intsFromAttributeOrInput("axes", 1) else { throw CetError(.invalidModel, "axes are missing") }
    let rank = x.rank + named.count
    let axes = try call.axes(named, rank: rank)
    var sizes = x.shape[...]
    return [try call.e.reshape(x, (0..<rank).map { axes.contains($0) ? 1 : sizes.removeFirst() })]
  },
  OperatorEntry("Transpose") { call in
    let x = try call.input(0)
    return [try call.e.transpose(x, call.ints("perm") ?? Array((0..<x.rank).reversed()))]
  },
  OperatorEntry("Expand", versions: 8...newestOpset) { call in
    let x = try call.input(0)
    let wanted = try call.knownInts(1, "shape")
    guard let shape = broadcastShape(x.shape, wanted) else {
      throw CetError(.shapeMismatch, "shape \(x.shape.shapeText) does not broadcast to \(wanted.shapeText)")
    }
    return [try call.e.expand(x, shape)]
  },
  OperatorEntry("Tile") { call in
    let x = try call.input(0)
    let repeats = try call.knownInts(1, "repeats")
    guard repeats.count == x.rank, repeats.allSatisfy({ $0 >= 0 }) else {
      throw CetError(.shapeMismatch, "repeats \(repeats) do not fit shape \(x.shape.shapeText)")
    }
    // [a, b] → [1, a, 1, b] → [r, a, s, b] → [ra, sb]
    let apart = try call.e.reshape(x, x.shape.flatMap { [1, $0] })
    let repeated = try call.e.expand(apart, zip(repeats, x.shape).flatMap { [$0, $1] })
    return [try call.e.reshape(repeated, zip(repeats, x.shape).map { $0 &* $1 })]
  },
  OperatorEntry("Concat") { call in
    let values = try call.inputs.indices.map { try call.input($0) }
    guard let first = values.first, let axis = try call.int("axis") else { throw CetError(.invalidModel, "nothing to join") }
    return try call.e.emit(Concatenate(axis: call.axis(axis, rank: first.rank)), values)
  },
  OperatorEntry("Split") { call in
    let x = try call.input(0)
    let axis = try call.axis(call.int("axis", 0), rank: x.rank)
    let size = x.shape[axis]
    let parts = call.node.outputs.count
    let sizes: [Int]
    if let named = try call.intsFromAttributeOrInput("split", 1) {
      sizes = named
    } else {
      let chunk = (size + parts - 1) / max(parts, 1)  // the last part may be smaller (opset 18)
      sizes = (0..<parts).map { max(0, min(chunk, size - $0 * chunk)) }
    }
    guard sizes.allSatisfy({ $0 >= 0 && $0 <= size }), sizes.reduce(0, +) == size else {
      throw CetError(.shapeMismatch, "split \(sizes) does not cover \(size) along axis \(axis)")
    }
    var start = 0
    return try sizes.map { part in
      var (starts, shape) = (x.shape.map { _ in 0 }, x.shape)
      starts[axis] = start
      shape[axis] = part
      start += part
      return try call.e.emit(Slice(starts: starts, steps: x.shape.map { _ in 1 }, sizes: shape), x)
    }
  },
  OperatorEntry("Slice") { call in
    let x = try call.input(0)
    let fromInputs = call.opset >= 10
    guard let from = fromInputs ? try call.knownInts(1, "starts") : try call.ints("starts"),
      let to = fromInputs ? try call.knownInts(2, "ends") : try call.ints("ends")
    else { throw CetError(.invalidModel, "starts or ends are missing") }
    let named = try fromInputs ? (call.has(3) ? call.knownInts(3, "axes") : nil) : call.ints("axes")
    let stepsGiven = fromInputs && call.has(4) ? try call.knownInts(4, "steps") : nil
    let axes = try (named ?? Array(from.indices)).map { try call.axis($0, rank: x.rank) }
    guard to.count == from.count, axes.count == from.count, stepsGiven.map({ $0.count == from.count }) ?? true else {
      throw CetError(.invalidModel, "starts, ends, axes and steps differ in length")
    }
    var (starts, steps, sizes) = (x.shape.map { _ in 0 }, x.shape.map { _ in 1 }, x.shape)
    for (k, axis) in axes.enumerated() {
      let size = x.shape[axis]
      let step = stepsGiven?[k] ?? 1
      guard step != 0 else { throw CetError(.invalidModel, "a step of 0 along axis \(axis)") }
      func bound(_ value: Int, _ low: Int, _ high: Int) -> Int { min(max(value < 0 ? value &+ size : value, low), high) }
      let start = step > 0 ? bound(from[k], 0, size) : bound(from[k], 0, size - 1)
      let end = step > 0 ? bound(to[k], 0, size) : bound(to[k], -1, size - 1)
      let span = step > 0 ? end - start : start - end
      let stride = step.magnitude > UInt(Int.max) ? Int.max : Int(step.magnitude)
      sizes[axis] = span <= 0 ? 0 : (span - 1) / stride + 1
      starts[axis] = sizes[axis] == 0 ? 0 : start
      steps[axis] = sizes[axis] <= 1 ? 1 : step
    }
    return [try call.e.emit(Slice(starts: starts, steps: steps, sizes: sizes), x)]
  },
  OperatorEntry("Pad") { call in [try pad(call)] },
]

/// Padding: constants by embedding, the other modes by gathering along each axis. Negative pads crop.
private func pad(_ call: OperatorCall) throws -> Value {
  let x = try call.input(0)
  let e = call.e
  guard let given = try call.opset < 11 ? call.ints("pads") : call.knownInts(1, "pads") else {
    throw CetError(.invalidModel, "pads are missing")
  }
  let axes = call.opset >= 18 && call.has(3) ? try call.knownInts(3, "axes").map { try call.axis($0, rank: x.rank) } : Array(0..<x.rank)
  guard given.allSatisfy({ $0.magnitude < 1 << 31 }) else { throw CetError(.shapeMismatch, "pads \(given) are too large") }
  guard given.count == 2 * axes.count else {
    throw CetError(.shapeMismatch, "pads has \(given.count) entries, \(axes.count) axes need \(2 * axes.count)")
  }
  var (begin, end) = ([Int](repeating: 0, count: x.rank), [Int](repeating: 0, count: x.rank))
  for (k, axis) in axes.enumerated() {
    begin[axis] = given[k]
    end[axis] = given[k + axes.count]
  }
  let steps = [Int](repeating: 1, count: x.rank)
  let cropStarts = begin.map { max(0, -$0) }
  let cropSizes = x.shape.indices.map { x.shape[$0] - cropStarts[$0] - max(0, -end[$0]) }
  guard cropSizes.allSatisfy({ $0 >= 0 }) else { throw CetError(.shapeMismatch, "pads \(given) crop more than \(x.shape.shapeText)") }
  let core = cropSizes == x.shape ? x : try e.emit(Slice(starts: cropStarts, steps: steps, sizes: cropSizes), x)
  let (lead, trail) = (begin.map { max(0, $0) }, end.map { max(0, $0) })
  let shape = cropSizes.indices.map { cropSizes[$0] + lead[$0] + trail[$0] }
  if shape == cropSizes { return core }
  try e.reserve(x.element, shape)
  let mode = try call.string("mode", "constant")
  if mode == "constant" {
    let embedded = try e.emit(Embed(into: shape, starts: lead, steps: steps), core)
    let fill: Value
    if call.opset < 11 {
      fill = try e.scalar(call.float("value", 0), x.element)
    } else if let value = call.optional(2) {
      fill = try e.reshape(value, [])
    } else {
      return embedded
    }
    if let known = e.known(fill), try Conversion.convert(known, to: .float64, e.context).array(as: Double.self) == [0] {
      return embedded
    }
    let inside = try e.emit(Embed(into: shape, starts: lead, steps: steps), e.expand(e.scalar(1, .bool), cropSizes))
    return try e.emit(Select(), inside, embedded, fill)
  }
  var result = core
  for axis in 0..<x.rank where lead[axis] + trail[axis] > 0 {
    let size = cropSizes[axis]
    guard size > 0, lead[axis] + trail[axis] < 1 << 24 else { throw CetError(.shapeMismatch, "cannot pad the empty axis \(axis) with mode \(mode)") }
    try e.foresee(entries: size + lead[axis] + trail[axis], width: 24, work: 16, "places of a padded axis")
    let rows: [Int] = try (-lead[axis]..<(size + trail[axis])).map { position in
      switch mode {
      case "edge": return min(max(position, 0), size - 1)
      case "wrap": return ((position % size) + size) % size
      case "reflect":
        guard size > 1 else { return 0 }
        let period = 2 * (size - 1)
        let folded = ((position % period) + period) % period
        return folded < size ? folded : period - folded
      default: throw CetError(.unsupportedOperator, "pad mode '\(mode)'")
      }
    }
    result = try e.emit(Gather(axis: axis), result, e.integers(rows))
  }
  return result
}
