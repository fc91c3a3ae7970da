import CetAutodiff
import CetLayers
import CetQuantize
import CetTensor

/// How Step 7 runs.
public struct SequentialOptions: Sendable, Equatable {
  /// Regularisation of the least-squares target, relative to the mean input variance.
  public var ridge: Double
  /// Step 7b.
  public var matchesVariance: Bool

  public init(ridge: Double, matchesVariance: Bool) {
    self.ridge = ridge
    self.matchesVariance = matchesVariance
  }
}

/// Step 7: quantizes layer after layer in topological order. Each layer is fitted to the inputs that the already quantized
/// layers give it, so that it makes up for their error.
public struct SequentialPass {
  private let bound: BoundModel
  private let options: SequentialOptions
  private let rules: CodeRules
  private let effort: RoundingEffort
  private let readings: UnquantizedReadings

  /// Bytes of activations that are kept for reuse between the layers.
  public static let idleLimit = 1 << 28

  /// - Parameter readings: what is known of the unquantized network on the batches, and where more goes.
  public init(
    _ bound: BoundModel, _ options: SequentialOptions, rules: CodeRules, effort: RoundingEffort = RoundingEffort(.comparison),
    readings: UnquantizedReadings = UnquantizedReadings()
  ) {
    self.readings = readings
    self.bound = bound
    self.options = options
    self.rules = rules
    self.effort = effort
  }

  /// - Parameters:
  ///   - formats: by layer index.
  ///   - fixed: layers that are quantized already (tables), by index.
  ///   - progress: layers done, of how many.
  public func run(
    _ formats: [Int: CodeFormat], fixed: [Int: QuantizedLayer] = [:], _ batches: [FittingBatch],
    progress: (Int, Int) throws(CetError) -> Void = { _, _ in }
  ) throws(CetError) -> [Int: QuantizedLayer] {
    let order = try bound.observable(formats.keys.sorted().filter { fixed[$0] == nil }, batches)
    let networks = try networks(order, fixed, batches)
    var result = fixed
    var done = 0
    for run in bound.sharedInputs(order, batches) {
      // Layers that share an input are fitted to it together, before what reads them runs again.
      var shared: FactoredStatistics?
      for index in run {
        guard let format = formats[index] else { continue }
        try progress(done, order.count)
        if shared == nil || bound.residual(of: index) != nil || bound.residual(of: run[0]) != nil {
          // What layers that share statistics have in common is measured for all of them, or is known of all.
          let isKnown = run.allSatisfy { readings[variances: $0] != nil }
          let paired = try networks.statistics(index, needsVariance: options.matchesVariance && !isKnown)
          // The sums of wide layers take as much memory as the factors that follow.
          giveBackIdle()
          shared = FactoredStatistics(paired, bound.workers)
        }
        if let shared { result[index] = try layer(index, format, shared) }
        done += 1
      }
      for index in run {
        guard let layer = result[index] else { continue }
        for (name, tensor) in try bound.replacement(index, layer) {
          for cursor in networks.quantized { cursor.replace(name, by: tensor) }
        }
      }
      // Every layer has activations of a size of its own, and all batches have them at a time.
      giveBackIdle()
    }
    try progress(order.count, order.count)
    return result
  }

  private func giveBackIdle() {
    if bound.context.arena.idleByteCount > SequentialPass.idleLimit { bound.context.arena.trim() }
  }

  /// The unquantized network and the one whose `fixed` layers are quantized, at the start of every batch.
  /// - Parameter order: the layers at whose inputs they will stop.
  private func networks(
    _ order: [Int], _ fixed: [Int: QuantizedLayer], _ batches: [FittingBatch]
  ) throws(CetError) -> PairedMeasurement {
    var routes: [Batch.Signature: ForwardRoute] = [:]
    for batch in batches.map(\.batch) where routes[batch.signature] == nil {
      let reached = try bound.reached(batch)
      let stops = order.filter(reached.contains).flatMap {
        [bound.layers[$0].input, bound.residual(of: $0)?.name].compactMap { $0 }
      }
      routes[batch.signature] = try bound.programs.route(batch, stops: stops, outputs: [bound.output])
    }
    func cursors(_ weights: [String: Tensor]) throws(CetError) -> [ForwardCursor] {
      try batches.map { batch throws(CetError) in
        guard let route = routes[batch.batch.signature] else { throw CetError(.internal, "a batch has no route") }
        return ForwardCursor(route, batch.batch, weights: weights, bound.context)
      }
    }
    return PairedMeasurement(
      bound, batches, UnquantizedReader(bound, batches, try cursors(bound.weights), readings),
      quantized: try cursors(bound.weights.merging(bound.replacements(fixed)) { $1 }))
  }

  /// Paired statistics with the factors of every group's C_q.
  private struct FactoredStatistics {
    let paired: PairedStatistics
    let factors: InputFactors

    init(_ paired: PairedStatistics, _ workers: Workers) {
      self.paired = paired
      factors = InputFactors(paired.groups.map { ($0.covariance, $0.count) }, workers)
    }
  }

  private func layer(_ index: Int, _ format: CodeFormat, _ factored: FactoredStatistics) throws(CetError) -> QuantizedLayer {
    let layer = bound.layers[index]
    do {
      let view = try WeightView(name: layer.name, shape: layer.shape, axis: layer.axis, bound.weightValues(layer))
      // Without a bias the mean cannot be absorbed, and a centred fit would be the wrong one.
      let target = try bound.biasNames[index] == nil ? view.matrix : target(view.matrix, factored.paired)
      let matrix = try layer.rounded(
        target, format, rules: rules, factors: factored.factors, effort: effort, bound.workers
      ) { matrix, exponent throws(CetError) in
        guard options.matchesVariance else { return }
        let reference = try readings.variances(index) { () throws(CetError) in try variance(view.matrix, factored.paired) }
        try matchVariance(
          &matrix, reference.map { Double(sign: .plus, exponent: -2 * exponent, significand: $0) }, factored.paired)
      }
      return QuantizedLayer(
        tensor: try view.assembled(matrix), bias: try correctedBias(index, view.matrix, matrix, factored.paired))
    } catch {
      throw error.at(.initializer(layer.name))
    }
  }

  /// The weights that make the most of what the quantized network gives a layer.
  private func target(_ weights: WeightMatrix, _ statistics: PairedStatistics) throws(CetError) -> WeightMatrix {
    let rows = weights.rows / max(1, statistics.groups.count)
    var values: [Float] = []
    for (g, group) in statistics.groups.enumerated() {
      let part = try WeightMatrix(Array(weights.values[range(g, rows, weights.columns)]), rows: rows, columns: weights.columns)
      let target = try OutputCorrection.leastSquaresTarget(
        part, quantizedCovariance: group.covariance, crossCovariance: group.cross,
        residualCovariance: group.residual.isEmpty ? nil : group.residual, relativeRidge: options.ridge,
        patches: group.count, workers: bound.workers)
      values += (target ?? part).values
    }
    return try WeightMatrix(values, rows: weights.rows, columns: weights.columns)
  }

  /// Step 7b: scales rows so that each output varies as much as in the unquantized network.
  /// - Parameter reference: variances of the unquantized network's outputs.
  private func matchVariance(_ matrix: inout QuantizedMatrix, _ reference: [Double], _ statistics: PairedStatistics) throws(CetError) {
    let rows = matrix.rows / max(1, statistics.groups.count)
    let rounded = matrix.dequantize()
    var after: [Double] = []
    for (g, group) in statistics.groups.enumerated() {
      after += try OutputCorrection.variance(
        Array(rounded[range(g, rows, matrix.columns)]), rows: rows, covariance: group.covariance, workers: bound.workers)
    }
    try matrix.scaleRows(
      by: OutputCorrection.varianceFactors(reference: reference, quantized: after, granularity: rules.granularity))
  }

  /// Variances of the unquantized network's outputs.
  private func variance(_ weights: WeightMatrix, _ statistics: PairedStatistics) throws(CetError) -> [Double] {
    let rows = weights.rows / max(1, statistics.groups.count)
    var result: [Double] = []
    for (g, group) in statistics.groups.enumerated() {
      guard let reference = group.varianceF else { throw CetError(.internal, "no variances were measured") }
      let part = try WeightMatrix(Array(weights.values[range(g, rows, weights.columns)]), rows: rows, columns: weights.columns)
      result += try OutputCorrection.variance(part, reference: reference, workers: bound.workers)
    }
    return result
  }

  /// Entries of the rows of one group.
  private func range(_ group: Int, _ rows: Int, _ columns: Int) -> Range<Int> {
    (group * rows * columns)..<((group + 1) * rows * columns)
  }

  /// b + W μ_f + E[r_f − r_q] − Ŵ μ_q: the output's mean is that of the unquantized network.
  private func correctedBias(
    _ index: Int, _ weights: WeightMatrix, _ matrix: QuantizedMatrix, _ statistics: PairedStatistics
  ) throws(CetError) -> [Float]? {
    guard let bias = try bound.biasValues(index) else { return nil }
    let means = statistics.groups.map {
      OutputCorrection.Means(full: $0.meanF, quantized: $0.meanQ, residual: $0.residualMean)
    }
    return bound.layers[index].corrected(bias, by: try OutputCorrection.bias(weights, matrix, means: means))
  }
}
