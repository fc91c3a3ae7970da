import CetAutodiff
import CetLayers
import CetQuantize
import CetTensor

/// Takes statistics of layers while two networks walk through the model side by side, unquantized and partly quantized.
struct PairedMeasurement {
  private let bound: BoundModel
  private let batches: [FittingBatch]
  private let samples: Int
  /// The two networks at every batch.
  private let fp32: [ForwardCursor]
  let quantized: [ForwardCursor]
  /// Inputs of several matrices.
  private let shared: Set<String>

  init(_ bound: BoundModel, _ batches: [FittingBatch], fp32: [ForwardCursor], quantized: [ForwardCursor]) {
    self.bound = bound
    self.batches = batches
    samples = batches.reduce(0) { $0 + $1.sampleCount }
    self.fp32 = fp32
    self.quantized = quantized
    shared = bound.sharedInputNames
  }

  /// The weights of a layer whose outputs are taken in place of its inputs, because there are far fewer of them; nil: its inputs are
  /// taken. Those serve all layers that read them. It depends on the model alone, never on which layers are quantized: results of
  /// former calls are kept.
  private func mapping(_ index: Int) throws(CetError) -> (matrix: WeightMatrix, exponent: Int)? {
    let layer = bound.layers[index]
    guard 2 * (layer.channels / layer.groups) <= layer.columns, layer.input.map(shared.contains) != true else { return nil }
    return try WeightView(name: layer.name, shape: layer.shape, axis: layer.axis, bound.weightValues(layer)).matrix.normalized()
  }

  /// Statistics of layer `index`, to which all cursors run.
  /// - Parameter needsVariance: whether the covariance of the unquantized network's inputs is asked for.
  func statistics(_ index: Int, needsVariance: Bool) throws(CetError) -> PairedStatistics {
    let layer = bound.layers[index]
    let residual = bound.residual(of: index)
    do {
      // Batches of other branches have no such input.
      var reaching: [Int] = []
      for position in batches.indices where try bound.reached(batches[position].batch).contains(index) {
        reaching.append(position)
      }
      let parts = FittingBatch.parts(reaching.count, columns: layer.columns).map { Array(reaching[$0]) }
      return residual == nil && layer.isDepthwise
        ? try depthwise(index, parts, needsVariance) : try grouped(index, residual, parts, needsVariance)
    } catch {
      throw error.at(.initializer(layer.name))
    }
  }

  private func grouped(_ index: Int, _ residual: Residual?, _ parts: [[Int]], _ needsVariance: Bool) throws(CetError) -> PairedStatistics {
    let layer = bound.layers[index]
    let rows = layer.channels / layer.groups
    let weights = try mapping(index)
    var sums: [PairedMoments] = []
    var order: [Int] = []
    try bound.workers.ordered(parts.count) { part in
      var found: [PairedMoments] = []
      var firstOrder: [Int] = []
      for position in parts[part] {
        let (f, q, step) = try inputs(index, position)
        let difference = try residual.flatMap { try residualDifference($0, position, layer, input: f) }
        for group in 0..<layer.groups {
          let patches = try Patches(
            layer, layer.node, input: f, group: group, step: step, kept: batches[position].rows[index])
          if found.count == group {
            firstOrder = patches.order
            let operand = weights.map { weights, exponent in
              PairedMoments.Operand(weights, rows: (group * rows)..<((group + 1) * rows), exponent: exponent, firstOrder)
            } ?? .inputs(needsVariance: needsVariance)
            found.append(
              try PairedMoments(columns: patches.columns, rows: rows, hasResidual: difference != nil, operand))
          }
          try patches.forEach([f, q], bound.context) { inputs, numbers throws(CetError) in
            try found[group].add(inputs, rows: numbers.count)
            guard let difference else { return }
            let picked = try Tensor(uninitialized: .float32, [numbers.count, rows], arena: bound.context.arena)
            for (row, number) in numbers.enumerated() {
              (picked.floats + row * rows)
                .update(from: difference.floats + number * layer.channels + group * rows, count: rows)
            }
            try withExtendedLifetime((picked, difference)) { () throws(CetError) in
              try found[group].addResidual(picked.floats, inputs[1], rows: numbers.count)
            }
          }
        }
      }
      for group in found.indices { try found[group].flush() }
      return (found, firstOrder)
    } combine: { _, part in
      if sums.isEmpty {
        (sums, order) = part
      } else {
        for group in sums.indices { try sums[group].merge(part.0[group]) }
      }
    }
    return PairedStatistics(groups: try sums.map { sum throws(CetError) in try sum.statistics(order) })
  }

  private func depthwise(_ index: Int, _ parts: [[Int]], _ needsVariance: Bool) throws(CetError) -> PairedStatistics {
    let layer = bound.layers[index]
    func moments() throws(CetError) -> DepthwiseMoments {
      try DepthwiseMoments(columns: layer.columns, groups: layer.groups, needsVariance: needsVariance)
    }
    var sums = try moments()
    try bound.workers.ordered(parts.count) { part in
      var found = try moments()
      for position in parts[part] {
        let (f, q, step) = try inputs(index, position)
        let patches = try Patches(layer, layer.node, input: f, group: nil, step: step, kept: nil)
        try patches.forEach([f, q], bound.context) { inputs, numbers throws(CetError) in
          try found.add(inputs, rows: numbers.count)
        }
      }
      return found
    } combine: { try sums.merge($1) }
    return sums.statistics
  }

  /// A layer's input in both networks at a batch, and how sparsely its patches are taken.
  private func inputs(_ index: Int, _ position: Int) throws(CetError) -> (f: Tensor, q: Tensor, step: Int) {
    let layer = bound.layers[index]
    let name = layer.input ?? ""
    let (f, q) = (try fp32[position].value(name), try quantized[position].value(name))
    return (f, q, try batches[position].patchStep(index, layer, f, samples: samples))
  }

  /// r_f − r_q as rows of output channels, one row a patch; nil when the runs have not passed the residual, which both do at
  /// the same step, and when its shape is not that of the output (a residual that is broadcast over samples or positions).
  /// In units of the layer's output: divided by the residual's slopes.
  private func residualDifference(
    _ residual: Residual, _ position: Int, _ layer: LinearLayer, input: Tensor
  ) throws(CetError) -> Tensor? {
    guard let f = fp32[position].passed(residual.name), let q = quantized[position].passed(residual.name) else { return nil }
    let (arena, slopes) = (bound.context.arena, residual.slopes)
    guard f.type == .float32, f.shape == q.shape,
      f.count == (try Patches.count(layer, layer.node, input: input)) * layer.channels
    else { return nil }
    let layout: Layout
    switch layer.kind {
    case .leftMatrix: return nil
    case .convolution, .transposedConvolution:
      guard f.rank >= 3, f.shape[1] == layer.channels else { return nil }
      layout = .channelsLast
    default:
      guard f.shape.last == layer.channels else { return nil }
      layout = .rowMajor
    }
    let (a, b) = (try f.converted(to: layout, arena: arena), try q.converted(to: layout, arena: arena))
    let result = try Tensor(uninitialized: .float32, f.shape, layout: layout, arena: arena)
    withExtendedLifetime((a, b)) {
      Elementwise.apply(.subtract, a.floats, b.floats, into: result.floats, count: a.count)
    }
    if !slopes.isEmpty { for i in 0..<result.count { result.floats[i] /= slopes[i % slopes.count] } }
    return result
  }
}
