import CetTensor

let normalizationOperators: [OperatorEntry] = [
  OperatorEntry("Softmax") { call in [try softmax(call, logarithmic: false)] },
  OperatorEntry("LogSoftmax") { call in [try softmax(call, logarithmic: true)] },

  // y = (x − mean)·scale/√(var + ε) + bias with stored statistics
  OperatorEntry("BatchNormalization") { call in
    let (x, e) = (try call.input(0, rankAtLeast: 1), call.e)
    func perChannel(_ v: Value) throws -> Value {
      try e.reshape(v, [v.shape.elementCount] + [Int](repeating: 1, count: max(0, x.rank - 2)))
    }
    let (scale, bias) = (try perChannel(call.input(1)), try perChannel(call.input(2)))
    var running = [try call.input(3), try call.input(4)]
    var (mean, variance) = (try perChannel(running[0]), try perChannel(running[1]))
    if try call.int("training_mode", 0) != 0 {  // statistics of the batch; they move the running ones
      let axes = [0] + Array(2..<max(x.rank, 2))
      let now = try CetOperators.mean(x, axes, e)
      let centred = try e.subtract(x, now)
      let spread = try CetOperators.mean(e.multiply(centred, centred), axes, e)
      let momentum = try call.float("momentum", Double(Float(0.9)))
      running = try zip(running, [now, spread]).map { old, new in
        let flat = try e.convert(e.reshape(new, old.shape), to: old.element)
        return try e.add(e.scale(old, by: momentum), e.scale(flat, by: 1 - momentum))
      }
      (mean, variance) = (try e.convert(perChannel(now), to: mean.element), try e.convert(perChannel(spread), to: variance.element))
    }
    let epsilon = try e.scalar(call.float("epsilon", Double(Float(1e-5))), variance.element)
    let factor = try e.divide(scale, e.unary(.sqrt, e.add(variance, epsilon)))
    let shift = try e.subtract(bias, e.multiply(mean, factor))
    return [try e.add(e.multiply(x, e.convert(factor, to: x.element)), e.convert(shift, to: x.element))] + running
  },
  OperatorEntry("InstanceNormalization") { call in
    let (x, e) = (try call.input(0, rankAtLeast: 2), call.e)
    let channels = [1, x.shape[1]] + [Int](repeating: 1, count: x.rank - 2)
    let normal = try standardized(x, axes: Array(2..<x.rank), epsilon: call.float("epsilon", Double(Float(1e-5))), e).y
    return [try e.add(e.multiply(normal, e.reshape(call.input(1), channels)), e.reshape(call.input(2), channels))]
  },
  // onnxruntime's optimizer writes it into models of older operator sets too.
  OperatorEntry("LayerNormalization", versions: allOpsets) { call in
    let (x, e) = (try call.input(0), call.e)
    let axis = try call.axis(call.int("axis", -1), rank: x.rank)
    let parts = try standardized(x, axes: Array(axis..<x.rank), epsilon: call.float("epsilon", Double(Float(1e-5))), e)
    var y = try e.multiply(parts.y, call.input(1))
    if let bias = call.optional(2) { y = try e.add(y, bias) }
    return [y, parts.mean, parts.inverse]
  },
  OperatorEntry("GroupNormalization", versions: 18...newestOpset) { call in
    let (x, e) = (try call.input(0), call.e)
    guard let groups = try call.int("num_groups"), groups > 0, x.rank >= 3, x.shape[1] % groups == 0 else {
      throw CetError(.shapeMismatch, "num_groups does not divide the channels of \(x.shape.shapeText)")
    }
    let split = try e.reshape(x, [x.shape[0], groups, x.shape[1] / groups] + x.shape[2...])
    let normal = try standardized(split, axes: Array(2..<split.rank), epsilon: call.float("epsilon", Double(Float(1e-5))), e).y
    let tail = [Int](repeating: 1, count: x.rank - 2)
    if call.opset >= 21 {  // scale and bias per channel
      let y = try e.reshape(normal, x.shape)
      return [
        try e.add(e.multiply(y, e.reshape(call.input(1), [1, x.shape[1]] + tail)), e.reshape(call.input(2), [1, x.shape[1]] + tail))
      ]
    }
    let y = try e.add(
      e.multiply(normal, e.reshape(call.input(1), [1, groups, 1] + tail)), e.reshape(call.input(2), [1, groups, 1] + tail))
    return [try e.reshape(y, x.shape)]
  },
  OperatorEntry("RMSNormalization", versions: 23...newestOpset) { call in
    let (x, e) = (try call.input(0), call.e)
    let axis = try call.axis(call.int("axis", -1), rank: x.rank)
    let normal = try rootMeanSquareNormalized(
      x, axes: Array(axis..<x.rank), epsilon: call.float("epsilon", Double(Float(1e-5))), e).y
    return [try e.multiply(normal, call.input(1))]
  },
  // y = (x − mean)/√var over the batch and space
  OperatorEntry("MeanVarianceNormalization", versions: 9...newestOpset) { call in
    let (x, e) = (try call.input(0), call.e)
    let axes = try call.axes(call.ints("axes") ?? [0, 2, 3], rank: x.rank)
    let centred = try e.subtract(x, mean(x, axes, e))
    let deviation = try e.unary(.sqrt, mean(e.multiply(centred, centred), axes, e))
    return [try e.divide(centred, e.add(deviation, e.scalar(1e-9, x.element)))]
  },
  // y = x / (bias + α/size · Σ over nearby channels of x²)^β
  OperatorEntry("LRN") { call in
    let (x, e) = (try call.input(0), call.e)
    guard let size = try call.int("size"), size > 0, x.rank >= 2 else { throw CetError(.invalidModel, "size is missing") }
    let square = try e.multiply(x, x)
    var total: Value?
    let reach = x.shape[1]
    _ = try e.turns(min(size, 2 * reach))
    for offset in max(-((size - 1) / 2), -reach)...min(size / 2, reach) where abs(offset) < x.shape[1] {
      var (starts, sizes, place) = (x.shape.map { _ in 0 }, x.shape, x.shape.map { _ in 0 })
      starts[1] = max(0, offset)
      place[1] = max(0, -offset)
      sizes[1] = x.shape[1] - abs(offset)
      let steps = x.shape.map { _ in 1 }
      let moved = try e.emit(Embed(into: x.shape, starts: place, steps: steps), e.emit(Slice(starts: starts, steps: steps, sizes: sizes), square))
      total = try e.sum(total, moved)
    }
    guard let total else { return [x] }
    let base = try e.add(e.scale(total, by: call.float("alpha", 1e-4) / Double(size)), e.scalar(call.float("bias", 1), x.element))
    return [try e.multiply(x, e.binary(.power, base, e.scalar(-call.float("beta", 0.75), x.element)))]
  },
  // x / ‖x‖_p along an axis
  OperatorEntry("LpNormalization") { call in
    let (x, e) = (try call.input(0), call.e)
    let axis = try call.axis(call.int("axis", -1), rank: x.rank)
    let norm = try call.int("p", 2) == 1
      ? e.sum(e.unary(.absolute, x), axes: [axis]) : e.unary(.sqrt, e.sum(e.multiply(x, x), axes: [axis]))
    // A vector of zeros stays one.
    return [try e.divide(x, e.emit(Select(), e.compare(.equal, norm, e.scalar(0, x.element)), e.scalar(1, x.element), norm))]
  },
]

func mean(_ x: Value, _ axes: [Int], _ e: Emitter) throws -> Value {
  try e.scale(e.sum(x, axes: axes), by: 1 / Double(max(1, axes.reduce(1) { $0 * x.shape[$1] })))
}

/// (x − mean)/√(var + ε) over axes, with the mean and the inverse deviation.
func standardized(_ x: Value, axes: [Int], epsilon: Double, _ e: Emitter) throws -> (y: Value, mean: Value, inverse: Value) {
  let centre = try mean(x, axes, e)
  let width = axes.reduce(1) { $0 * x.shape[$1] }
  if !axes.isEmpty, axes == Array((x.rank - axes.count)..<x.rank), width > 0, epsilon.isFinite {  // rows: one step
    let rows = try e.reshape(x, [x.count / width, width])
    let results = try e.emit(Standardize(epsilon: epsilon), [rows])
    return (try e.reshape(results[0], x.shape), centre, try e.reshape(results[1], centre.shape))
  }
  let centred = try e.subtract(x, centre)
  let variance = try mean(e.multiply(centred, centred), axes, e)
  let inverse = try e.unary(.reciprocal, e.unary(.sqrt, e.add(variance, e.scalar(epsilon, x.element))))
  return (try e.multiply(centred, inverse), centre, inverse)
}

/// x/√(mean x² + ε) over axes, with the inverse root.
func rootMeanSquareNormalized(_ x: Value, axes: [Int], epsilon: Double, _ e: Emitter) throws -> (y: Value, inverse: Value) {
  let meanSquare = try mean(e.multiply(x, x), axes, e)
  let inverse = try e.unary(.reciprocal, e.unary(.sqrt, e.add(meanSquare, e.scalar(epsilon, x.element))))
  return (try e.multiply(x, inverse), inverse)
}

/// Over one axis from opset 13; before, over all axes from `axis` on, flattened.
private func softmax(_ call: OperatorCall, logarithmic: Bool) throws -> Value {
  let (x, e) = (try call.input(0), call.e)
  let raw = try call.int("axis", call.opset < 13 ? 1 : -1)
  if x.rank == 0 { return try e.reshape(e.emit(Softmax(logarithmic: logarithmic), e.reshape(x, [1])), []) }
  if call.opset < 13 {
    let axis = raw == x.rank ? raw : try call.axis(raw, rank: x.rank)
    let flat = try e.reshape(x, [x.shape[..<axis].reduce(1, *), x.shape[axis...].reduce(1, *)])
    return try e.reshape(e.emit(Softmax(logarithmic: logarithmic), flat), x.shape)
  }
  let axis = try call.axis(raw, rank: x.rank)
  var swap = Array(0..<x.rank)
  swap.swapAt(axis, x.rank - 1)
  return try e.transpose(e.emit(Softmax(logarithmic: logarithmic), e.transpose(x, swap)), swap)
}
