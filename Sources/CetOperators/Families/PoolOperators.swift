import CetTensor

let poolOperators: [OperatorEntry] = [
  OperatorEntry("AveragePool") { call in
    let (geometry, x) = try poolingGeometry(call)
    return [try call.e.emit(AveragePool(geometry, countIncludesPadding: call.int("count_include_pad", 0) != 0), x)]
  },
  OperatorEntry("MaxPool") { call in
    let (geometry, x) = try poolingGeometry(call)
    let results = try call.e.emit(MaximumPool(geometry), [x])
    guard call.node.outputs.count > 1, !call.node.outputs[1].isEmpty else { return [results[0]] }
    let columns = try call.int("storage_order", 0) != 0
    return [results[0], try call.e.emit(PoolIndices(geometry, columnMajor: columns), results[1])]
  },
  // (Σ|x|ᵖ)^(1/p) over the window: the sum is the average without the division. Padding that reaches as far as the last
  // window makes all windows equally large.
  OperatorEntry("LpPool") { call in
    let (window, x) = try poolingGeometry(call)
    let geometry = try window.padded()
    let p = Double(try call.int("p", 2))
    let e = call.e
    let powers = try e.binary(.power, e.unary(.absolute, x), e.scalar(p, x.element))
    let mean = try e.emit(AveragePool(geometry, countIncludesPadding: true), powers)
    let total = try e.scale(mean, by: Double(geometry.kernel.reduce(1, *)))
    return [try e.binary(.power, total, e.scalar(1 / p, x.element))]
  },
  OperatorEntry("GlobalAveragePool") { call in
    let x = try call.input(0, rankAtLeast: 2)
    let axes = Array(2..<x.rank)
    let area = axes.reduce(1) { $0 * x.shape[$1] }
    return [try call.e.scale(call.e.sum(x, axes: axes), by: 1 / Double(max(area, 1)))]
  },
  OperatorEntry("GlobalMaxPool") { call in
    let x = try call.input(0, rankAtLeast: 2)
    return [try call.e.emit(Extremum(axes: Array(2..<x.rank), largest: true), x)]
  },
  OperatorEntry("GlobalLpPool") { call in
    let (x, e) = (try call.input(0, rankAtLeast: 2), call.e)
    let p = Double(try call.int("p", 2))
    let total = try e.sum(e.binary(.power, e.unary(.absolute, x), e.scalar(p, x.element)), axes: Array(2..<x.rank))
    return [try e.binary(.power, total, e.scalar(1 / p, x.element))]
  },
]

private func poolingGeometry(_ call: OperatorCall) throws -> (PoolingGeometry, Value) {
  let x = try call.input(0)
  guard x.rank >= 3, let kernel = try call.ints("kernel_shape") else {
    throw CetError(.shapeMismatch, "pooling needs kernel_shape and an input of rank 3 or more, got \(x.shape.shapeText)")
  }
  let window = try Window(call.attributes, spatial: Array(x.shape[2...]), kernel: kernel)
  let geometry = try PoolingGeometry(
    input: x.shape, kernel: kernel, strides: window.strides, dilations: window.dilations,
    pads: window.padsBegin + window.padsEnd, ceil: call.int("ceil_mode", 0) != 0)
  return (geometry, x)
}
