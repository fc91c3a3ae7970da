import CetGraph
import CetTensor

/// ONNX GridSample: interpolation at given places. Linear in the image and, between pixels, differentiable in
/// the grid; a place on a pixel's edge takes the side that `floor` takes.
func gridSample(_ call: OperatorCall) throws -> [Value] {
  let (x, grid, e) = (try call.input(0), try call.input(1), call.e)
  let spatial = x.rank - 2
  guard spatial >= 1, grid.rank == x.rank, grid.shape[0] == x.shape[0], grid.shape[grid.rank - 1] == spatial,
    x.shape[2...].allSatisfy({ $0 > 0 })
  else { throw CetError(.shapeMismatch, "grid \(grid.shape.shapeText) does not fit \(x.shape.shapeText)") }
  let sampler = try GridSampler(call, x, grid, e)
  return [try sampler.sample()]
}

private struct GridSampler {
  let e: Emitter
  let x: Value
  let mode: String
  let padding: String
  let corners: Bool
  /// Places in pixels for each spatial axis of x, (N, 1, points).
  var places: [Value] = []
  let outputShape: [Int]

  init(_ call: OperatorCall, _ x: Value, _ grid: Value, _ e: Emitter) throws {
    self.e = e
    self.x = x
    switch try call.string("mode", call.opset < 20 ? "bilinear" : "linear") {
    case "linear", "bilinear": mode = "linear"
    case "cubic", "bicubic": mode = "cubic"
    case "nearest": mode = "nearest"
    case let other: throw CetError(.unsupportedOperator, "mode '\(other)'")
    }
    padding = try call.string("padding_mode", "zeros")
    guard ["zeros", "border", "reflection"].contains(padding) else {
      throw CetError(.unsupportedOperator, "padding_mode '\(padding)'")
    }
    corners = try call.int("align_corners", 0) != 0
    let spatial = x.rank - 2
    outputShape = Array(x.shape[..<2]) + grid.shape[1..<(grid.rank - 1)]
    let points = grid.shape[1..<(grid.rank - 1)].reduce(1, *)
    let flat = try e.reshape(e.convert(grid, to: x.element), [grid.shape[0], 1, points, spatial])
    for axis in 0..<spatial {
      let size = Double(x.shape[axis + 2])
      // The grid names x first.
      let g = try e.reshape(e.slice(flat, axis: 3, from: spatial - 1 - axis, count: 1), [grid.shape[0], 1, points])
      let half = corners ? (size - 1) / 2 : size / 2
      let place = try e.add(e.scale(g, by: half), e.scalar(corners ? half : half - 0.5, x.element))
      places.append(mode == "cubic" ? place : try padded(place, axis))
    }
  }

  private func number(_ value: Double) throws -> Value { try e.scalar(value, x.element) }

  private func padded(_ place: Value, _ axis: Int) throws -> Value {
    if padding == "zeros" { return place }
    let last = Double(x.shape[axis + 2] - 1)
    var p = place
    if padding == "reflection" {  // |((p − low) mod 2span) − span| mirrored
      let (low, span) = corners ? (0, last) : (-0.5, last + 1)
      if span == 0 { return try e.scale(place, by: 0) }
      let turned = try e.binary(.modulo, e.subtract(p, number(low)), number(2 * span))
      p = try e.add(e.subtract(number(span), e.unary(.absolute, e.subtract(turned, number(span)))), number(low))
    }
    return try e.binary(.minimum, e.binary(.maximum, p, number(0)), number(last))
  }

  /// (whole place, weight) of the taps along an axis.
  private func taps(_ axis: Int) throws -> [(Value, Value?)] {
    let place = places[axis]
    if mode == "nearest" { return [(try e.unary(.round, place), nil)] }
    let base = try e.unary(.floor, place)
    let t = try e.subtract(place, base)
    if mode == "linear" {
      return [(base, try e.subtract(number(1), t)), (try e.add(base, number(1)), t)]
    }
    // Keys' kernel with a = −3/4 at distances 1 + t, t, 1 − t, 2 − t
    let a = -0.75
    func near(_ d: Value) throws -> Value {  // ((a + 2)d − (a + 3))d² + 1
      let inner = try e.subtract(e.scale(d, by: a + 2), number(a + 3))
      return try e.add(e.multiply(inner, e.multiply(d, d)), number(1))
    }
    func far(_ d: Value) throws -> Value {  // ((a·d − 5a)d + 8a)d − 4a
      let first = try e.subtract(e.scale(d, by: a), number(5 * a))
      let second = try e.add(e.multiply(first, d), number(8 * a))
      return try e.subtract(e.multiply(second, d), number(4 * a))
    }
    let rest = try e.subtract(number(1), t)
    let weights = [try far(e.add(t, number(1))), try near(t), try near(rest), try far(e.add(rest, number(1)))]
    return try weights.enumerated().map { (try padded(e.add(base, number(Double($0.offset - 1))), axis), $0.element) }
  }

  func sample() throws -> Value {
    let axes = try places.indices.map { try taps($0) }
    let strides = x.shape.rowMajorStrides
    let (batch, channels) = (x.shape[0], x.shape[1])
    let planes = try e.indices([batch, channels, 1]) { $0[0] * strides[0] + $0[1] * strides[1] }
    var total: Value?
    var choice = [Int](repeating: 0, count: axes.count)
    let counts = axes.map(\.count)
    for _ in 0..<counts.reduce(1, *) {
      var (offset, weight, inside): (Value, Value?, Value?) = (planes, nil, nil)
      for (axis, pick) in choice.enumerated() {
        let (place, w) = axes[axis][pick]
        let size = x.shape[axis + 2]
        let lower = try e.compare(.greaterOrEqual, place, number(0))
        let within = try e.emit(Bitwise(.and), lower, e.compare(.lessOrEqual, place, number(Double(size - 1))))
        inside = try inside.map { try e.emit(Bitwise(.and), $0, within) } ?? within
        offset = try e.add(offset, e.multiply(e.convert(place, to: .int64), e.scalar(Double(strides[axis + 2]), .int64)))
        if let w { weight = try weight.map { try e.multiply($0, w) } ?? w }
      }
      if let inside { offset = try e.emit(Select(), inside, offset, e.scalar(-1, .int64)) }
      let value = try e.emit(Take(), x, offset)
      total = try e.sum(total, weight.map { try e.multiply(value, $0) } ?? value)
      advance(&choice, counts)
    }
    guard let total else { throw CetError(.internal, "a grid without taps") }
    return try e.reshape(total, outputShape)
  }
}
