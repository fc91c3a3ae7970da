import CetAutodiff
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

extension Engine {
  /// Bytes of activations that are kept for reuse between the layers of a sequential pass.
  static let idleLimit = 1 << 28

  /// Step 7: quantizes layer after layer in topological order. Each layer is fitted to the inputs that the
  /// already quantized layers give it, so that it makes up for their error.
  /// - Parameters:
  ///   - bits: by layer index.
  ///   - fixed: layers that are quantized already (tables), by index.
  ///   - progress: layers done, of how many.
  func sequential(
    _ bits: [Int: Int], fixed: [Int: QuantizedLayer], batches: [FittingBatch], form: GridForm,
    _ options: SequentialOptions, effort: RoundingEffort, progress: (Int, Int) throws -> Void
  ) throws -> [Int: QuantizedLayer] {
    let order = try observable(bits.keys.sorted().filter { fixed[$0] == nil }, batches)
    var start = weights
    for (index, layer) in fixed { start.merge(try replacement(index, layer)) { $1 } }
    var routes: [Batch.Signature: ForwardRoute] = [:]
    let parameters = Array(weights.keys)
    for batch in batches.map(\.batch) where routes[batch.signature] == nil {
      let reached = try reached(batch)
      let stops = order.filter(reached.contains).flatMap { [layers[$0].input, residual(of: $0)?.name].compactMap { $0 } }
      routes[batch.signature] = try ForwardRoute(
        model, batch: batch, parameters: parameters, stops: stops, outputs: [output], context)
    }
    func cursors(_ weights: [String: Tensor]) throws -> [ForwardCursor] {
      try batches.map { batch in
        guard let route = routes[batch.batch.signature] else { throw CetError(.internal, "a batch has no route") }
        return ForwardCursor(route, batch.batch, weights: weights, context)
      }
    }
    let (fp32, quantized) = (try cursors(weights), try cursors(start))
    var result = fixed
    var done = 0
    for run in sharedInputs(order, batches) {
      // Layers that share an input are fitted to it together, before what reads them runs again.
      var shared: FactoredStatistics?
      for index in run {
        guard let width = bits[index] else { continue }
        try progress(done, order.count)
        if shared == nil || residual(of: index) != nil || residual(of: run[0]) != nil {
          shared = try FactoredStatistics(
            pairedStatistics(
              index, batches, fp32: fp32, quantized: quantized, needsVariance: options.matchesVariance),
            columns: layers[index].columns, workers)
        }
        if let shared { result[index] = try sequentialLayer(index, bits: width, shared, form: form, options, effort) }
        done += 1
      }
      for index in run {
        guard let layer = result[index] else { continue }
        for (name, tensor) in try replacement(index, layer) {
          for cursor in quantized { cursor.replace(name, by: tensor) }
        }
      }
      // Every layer has activations of a size of its own, and all batches have them at a time.
      if context.arena.idleByteCount > Engine.idleLimit { context.arena.trim() }
    }
    try progress(order.count, order.count)
    return result
  }

  /// Paired statistics with the factor of every group's C_q.
  private struct FactoredStatistics {
    let paired: PairedStatistics
    let factors: [CurvatureFactor]

    init(_ paired: PairedStatistics, columns: Int, _ workers: Workers) throws {
      self.paired = paired
      factors = try paired.groups.map { group in
        try CurvatureFactor(
          covariance: group.covariance, dimension: columns,
          relativeDamping: SamplePolicy.relativeDamping(patches: group.count, columns: columns), workers: workers)
      }
    }
  }

  private func sequentialLayer(
    _ index: Int, bits: Int, _ factored: FactoredStatistics, form: GridForm, _ options: SequentialOptions,
    _ effort: RoundingEffort
  ) throws -> QuantizedLayer {
    let statistics = factored.paired
    let layer = layers[index]
    do {
      let view = try WeightView(name: layer.name, shape: layer.shape, axis: layer.axis, weightValues(layer))
      let (rows, columns) = (view.matrix.rows, view.matrix.columns)
      let perGroup = rows / max(1, statistics.groups.count)
      var targetValues: [Float] = []
      for (g, group) in statistics.groups.enumerated() {
        let part = try WeightMatrix(
          Array(view.matrix.values[(g * perGroup * columns)..<((g + 1) * perGroup * columns)]), rows: perGroup,
          columns: columns)
        // Without a bias the mean cannot be absorbed, and a centred fit would be the wrong one.
        let target = try biasNames[index] == nil
          ? nil
          : OutputCorrection.leastSquaresTarget(
            part, quantizedCovariance: group.covariance, crossCovariance: group.cross,
            residualCovariance: group.residual.isEmpty ? nil : group.residual, relativeRidge: options.ridge,
            patches: group.count, workers: workers)
        targetValues += (target ?? part).values
      }
      let target = try WeightMatrix(targetValues, rows: rows, columns: columns)
      let matrix = try layer.rounded(
        target, bits: bits, form: form, factors: factored.factors, effort: effort, workers
      ) { matrix, exponent in
        guard options.matchesVariance else { return }
        let rounded = matrix.dequantize()
        let weights = view.matrix.scaled(byPowerOfTwo: -exponent).values
        var before: [Double] = []
        var after: [Double] = []
        for (g, group) in statistics.groups.enumerated() {
          let range = (g * perGroup * columns)..<((g + 1) * perGroup * columns)
          before += try OutputCorrection.variance(
            Array(weights[range]), rows: perGroup, covariance: group.covarianceF, workers: workers)
          after += try OutputCorrection.variance(Array(rounded[range]), rows: perGroup, covariance: group.covariance, workers: workers)
        }
        try matrix.scaleRows(
          by: OutputCorrection.varianceFactors(reference: before, quantized: after, granularity: form.granularity))
      }
      return QuantizedLayer(
        tensor: try view.assembled(matrix),
        bias: try sequentialBias(index, view.matrix, matrix, statistics))
    } catch let error as CetError {
      throw error.at("initializer '\(layer.name)'")
    }
  }

  /// b + W μ_f + E[r_f − r_q] − Ŵ μ_q: the output's mean is that of the unquantized network.
  private func sequentialBias(
    _ index: Int, _ weights: WeightMatrix, _ matrix: QuantizedMatrix, _ statistics: PairedStatistics
  ) throws -> [Float]? {
    guard let bias = try biasValues(index) else { return nil }
    let means = statistics.groups.map {
      OutputCorrection.Means(full: $0.meanF, quantized: $0.meanQ, residual: $0.residualMean)
    }
    return layers[index].corrected(bias, by: try OutputCorrection.bias(weights, matrix, means: means))
  }
}
