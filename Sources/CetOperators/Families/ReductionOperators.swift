import CetTensor

/// A reduction over `axes` (attribute, or input 1 from the operator set `inputSince` on); kept axes by default.
private func reduction(
  _ type: String, inputSince: Int = 18, derivatives: OperatorEntry.Derivatives = .exact,
  _ reduce: @escaping @Sendable (Value, [Int], Emitter) throws -> Value
) -> OperatorEntry {
  OperatorEntry(type, derivatives: derivatives) { call in
    let (x, e) = (try call.input(0), call.e)
    let named = try call.opset >= inputSince ? (call.has(1) ? call.knownInts(1, "axes") : nil) : call.ints("axes")
    if named?.isEmpty ?? true, try call.int("noop_with_empty_axes", 0) != 0 {
      return [try reduce(x, [], e)]
    }
    let axes = named.map { $0.isEmpty } ?? true ? Array(0..<x.rank) : try call.axes(named ?? [], rank: x.rank)
    let kept = try reduce(x, axes, e)
    guard try call.int("keepdims", 1) == 0 else { return [kept] }
    return [try e.reshape(kept, x.shape.indices.filter { !axes.contains($0) }.map { x.shape[$0] })]
  }
}

let reductionOperators: [OperatorEntry] = [
  reduction("ReduceSum", inputSince: 13) { x, axes, e in try e.sum(x, axes: axes) },
  reduction("ReduceMean") { x, axes, e in
    let total = try e.sum(x, axes: axes)
    let count = max(1, axes.reduce(1) { $0 * x.shape[$1] })
    // Integer means divide; the reciprocal would round to zero.
    return try x.element.isFloatingPoint ? e.scale(total, by: 1 / Double(count)) : e.divide(total, e.scalar(Double(count), x.element))
  },
  reduction("ReduceMax") { x, axes, e in axes.isEmpty ? x : try e.emit(Extremum(axes: axes, largest: true), x) },
  reduction("ReduceMin") { x, axes, e in axes.isEmpty ? x : try e.emit(Extremum(axes: axes, largest: false), x) },
  reduction("ReduceProd") { x, axes, e in axes.isEmpty ? x : try e.emit(Product(axes: axes), x) },
  reduction("ReduceL1") { x, axes, e in try e.sum(e.unary(.absolute, x), axes: axes) },
  reduction("ReduceL2") { x, axes, e in
    let total = try e.sum(e.multiply(x, x), axes: axes)
    guard !x.element.isFloatingPoint else { return try e.unary(.sqrt, total) }
    return try e.convert(e.unary(.sqrt, e.convert(total, to: .float64)), to: x.element)
  },
  reduction("ReduceSumSquare") { x, axes, e in try e.sum(e.multiply(x, x), axes: axes) },
  reduction("ReduceLogSum") { x, axes, e in try e.unary(.log, e.sum(x, axes: axes)) },
  // max + log Σ e^(x − max); the maximum is constant for the derivative, which is right all the same
  reduction("ReduceLogSumExp") { x, axes, e in
    guard !axes.isEmpty, x.shape.elementCount > 0 else { return try e.unary(.log, e.sum(e.unary(.exp, x), axes: axes)) }
    let peak = try e.emit(Extremum(axes: axes, largest: true), x)
    return try e.add(peak, e.unary(.log, e.sum(e.unary(.exp, e.subtract(x, peak)), axes: axes)))
  },
]
