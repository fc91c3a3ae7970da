import CCet

/// The curvature of the loss at the original weights, and what the plan's error is in its terms.
struct Geometry {
  struct Pair {
    var eigenvalue: Double
    var residualNorm: Double
    /// ½ λ (vᵀδ)²: what the pair adds to the second-order loss of the error δ; NaN without one.
    var share: Double
  }

  var pairs: [Pair]
  var dimension: UInt64
  var samples: UInt64
  var loss: String
  var trace: (trace: Double, standardError: Double)
  var density: DensityValues
  /// ½ δᵀHδ of the whole error; NaN without one.
  var secondOrderLoss = Double.nan
  /// Tensors of the largest ½ δᵢᵀHδᵢ, in graph order, and δᵢᵀHδⱼ of them.
  var names: [String] = []
  var products: [[Double]] = []

  var negativeCount: Int { pairs.count { $0.eigenvalue < 0 } }

  private static let mostTensors = 24

  init(
    _ model: Model, _ data: CalibrationSet, _ quantized: Quantized, count: UInt32, plan: PlanTotals, keep: [String],
    output: String?, threads: UInt32, _ monitor: Monitor
  ) throws {
    var options: cet_curvature_options = try initialized(cet_curvature_options_init)
    options.threads = threads
    options.loss = (Loss(rawValue: plan.loss)).code
    // Eigenvalues of a few dozen samples show the shape; all of them would take as long as the plan.
    samples = min(64, UInt64(data.sampleCount))
    options.samples = samples
    options.progress = Monitor.progress
    options.log = Monitor.log
    options.user_data = monitor.userData
    let curvature = try withCStrings([output ?? ""] + keep) { texts in
      if output != nil { options.output = texts[0] }
      options.keep_patterns = texts.baseAddress.map { $0 + 1 }
      options.keep_count = UInt64(keep.count)
      return try Curvature(model, data, options)
    }
    loss = plan.loss
    dimension = UInt64(curvature.dimension)
    let error = try Geometry.error(curvature, model, quantized)

    var solve: cet_eigensolve_options = try initialized(cet_eigensolve_options_init)
    solve.threads = threads
    solve.count = min(count, UInt32(clamping: dimension))
    solve.tolerance = 1e-2
    solve.seed = plan.seed
    solve.progress = Monitor.progress
    solve.user_data = monitor.userData
    let spectrum = try curvature.eigensolve(solve)
    pairs = try spectrum.pairs().enumerated().map { index, pair in
      let y = zip(try spectrum.vector(index), error.values).reduce(0.0) { $0 + Double($1.0) * Double($1.1) }
      return Pair(eigenvalue: pair.value, residualNorm: pair.residualNorm, share: 0.5 * pair.value * y * y)
    }

    var estimate: cet_estimate_options = try initialized(cet_estimate_options_init)
    estimate.threads = threads
    estimate.samples = 16
    estimate.steps = 32
    estimate.seed = plan.seed
    estimate.progress = Monitor.progress
    estimate.user_data = monitor.userData
    trace = try curvature.trace(estimate)
    estimate.samples = 4
    density = try curvature.density(estimate, points: 120)
    try interact(curvature, error)
  }

  private struct ErrorVector {
    var values: [Float]
    var slots: [(name: String, range: Range<Int>)]
  }

  /// δ: dequantized weights less the original ones, where the curvature has them.
  private static func error(_ curvature: Curvature, _ model: Model, _ quantized: Quantized) throws -> ErrorVector {
    let weights = try model.parameterVector()
    let places = Dictionary(try model.parameterSlots().map { ($0.name, $0.range) }, uniquingKeysWith: { $1 })
    var error = ErrorVector(values: [Float](repeating: 0, count: curvature.dimension), slots: try curvature.parameterSlots())
    for (name, range) in error.slots {
      guard let place = places[name], place.count == range.count, let found = try quantized.values(of: name, count: range.count)
      else { continue }
      for offset in 0..<range.count { error.values[range.lowerBound + offset] = found[offset] - weights[place.lowerBound + offset] }
    }
    return error
  }

  private mutating func interact(_ curvature: Curvature, _ error: ErrorVector) throws {
    func product(_ a: [Float], _ b: [Float], _ range: Range<Int>) -> Double {
      range.reduce(0.0) { $0 + Double(a[$1]) * Double(b[$1]) }
    }
    secondOrderLoss = 0.5 * product(error.values, try curvature.apply(error.values), error.values.indices)
    func norm(_ range: Range<Int>) -> Double { product(error.values, error.values, range) }
    let planned = error.slots.filter { norm($0.range) > 0 }
    // More than these would be more products than the plan itself took: the first ones of the largest error.
    let candidates = planned.count <= 48 ? planned : Array(planned.sorted { norm($0.range) > norm($1.range) }.prefix(48))
    // Rows of products instead of images: those are as long as the parameter vector.
    var rows: [[Double]] = []
    var alone = [Float](repeating: 0, count: error.values.count)
    for slot in candidates {
      try Interrupt.check()
      for index in slot.range { alone[index] = error.values[index] }
      let image = try curvature.apply(alone)
      for index in slot.range { alone[index] = 0 }
      rows.append(candidates.map { product(error.values, image, $0.range) })
    }
    let shown = candidates.indices.sorted { rows[$0][$0] > rows[$1][$1] }.prefix(Geometry.mostTensors)
      .sorted { candidates[$0].range.lowerBound < candidates[$1].range.lowerBound }
    names = shown.map { candidates[$0].name }
    products = shown.map { row in shown.map { rows[row][$0] } }
  }
}
