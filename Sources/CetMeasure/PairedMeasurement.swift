import CetAutodiff
import CetLayers
import CetQuantize
import CetTensor

/// Takes statistics of layers while two networks walk through the model side by side, unquantized and partly quantized.
struct PairedMeasurement {
  private let bound: BoundModel
  private let batches: [FittingBatch]
  private let samples: Int
  private let unquantized: UnquantizedReader
  /// The other network at every batch.
  let quantized: [ForwardCursor]

  init(_ bound: BoundModel, _ batches: [FittingBatch], _ unquantized: UnquantizedReader, quantized: [ForwardCursor]) {
    self.bound = bound
    self.batches = batches
    samples = batches.reduce(0) { $0 + $1.sampleCount }
    self.unquantized = unquantized
    self.quantized = quantized
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
    let mapping = try unquantized.mapping(index)
    let operand = mapping.map { PairedMoments.Operand.outputs(exponent: $0.exponent) } ?? .inputs(needsVariance: needsVariance)
    var sums: [PairedMoments] = []
    var order: [Int] = []
    try bound.workers.ordered(parts.count) { part in
      var found: [PairedMoments] = []
      var firstOrder: [Int] = []
      for position in parts[part] {
        let (input, step) = try input(index, position)
        let reading = try unquantized.reading(index, position, mapping, residual, step: step)
        let other = reading.residual.isEmpty ? nil : try residual.flatMap { residual throws(CetError) in
          try ResidualRows(residual, quantized[position], layer, input: input, bound.context)
        }
        for group in 0..<layer.groups {
          let patches = try Patches(
            layer, layer.node, input: input, group: group, step: step, kept: batches[position].rows[index])
          if found.count == group {
            firstOrder = patches.order
            found.append(try PairedMoments(columns: patches.columns, rows: rows, hasResidual: other != nil, operand, bound.context.arena))
          }
          var run = 0
          try patches.forEach([input], bound.context) { inputs, numbers throws(CetError) in
            try found[group].add(reading.lines[group][run].floats, inputs[0], rows: numbers.count)
            if let other {
              let difference = try other.difference(
                reading.residual[run], numbers, channels: (group * rows)..<((group + 1) * rows), arena: bound.context.arena)
              try withExtendedLifetime(difference) { () throws(CetError) in
                try found[group].addResidual(difference.floats, inputs[0], rows: numbers.count)
              }
            }
            run += 1
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
    return PairedStatistics(groups: try sums.map { sum throws(CetError) in try sum.statistics(order, bound.workers) })
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
        let (input, step) = try input(index, position)
        let reading = try unquantized.reading(wholeInputOf: index, position)
        let patches = try Patches(layer, layer.node, input: input, group: nil, step: step, kept: nil)
        try patches.forEach([reading, input], bound.context) { inputs, numbers throws(CetError) in
          try found.add(inputs, rows: numbers.count)
        }
      }
      return found
    } combine: { try sums.merge($1) }
    return sums.statistics
  }

  /// The quantized network's input of a layer at a batch, and how sparsely its patches are taken.
  private func input(_ index: Int, _ position: Int) throws(CetError) -> (input: Tensor, step: Int) {
    let layer = bound.layers[index]
    let input = try quantized[position].value(layer.input ?? "")
    return (input, try batches[position].patchStep(index, layer, input, samples: samples))
  }
}
