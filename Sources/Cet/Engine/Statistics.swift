import CetAutodiff
import CetGraph
import CetQuantize
import CetTensor

/// Mean and centred covariance of a layer's input patches, one entry a convolution group; in the order of the
/// weight rows' entries.
struct InputStatistics: Sendable {
  struct Group: Sendable {
    let mean: [Double]
    /// K × K row-major; centred when the bias can absorb the mean, else E[p pᵀ].
    let covariance: [Double]
    /// Patches that were seen.
    let count: Int
  }
  let groups: [Group]

  init(_ moments: [SecondMoment], order: [Int], centred: Bool) throws {
    groups = try moments.map { moment in
      let k = moment.dimension
      let covariance = try moment.covariance(centred: centred)
      let mean = try moment.mean()
      guard order != Array(0..<k) else { return Group(mean: mean, covariance: covariance, count: moment.count) }
      var sortedMean = mean
      for (from, to) in order.enumerated() { sortedMean[to] = mean[from] }
      let sorted = [Double](unsafeUninitializedCapacity: k * k) { target, filled in
        for (i, to) in order.enumerated() {
          for (j, across) in order.enumerated() { target[to * k + across] = covariance[i * k + j] }
        }
        filled = k * k
      }
      return Group(mean: sortedMean, covariance: sorted, count: moment.count)
    }
  }
}

extension Engine {
  /// Whether the layer's rounding uses statistics of its inputs.
  static func usesStatistics(_ layer: LinearLayer) -> Bool {
    switch layer.kind {
    case .convolution, .matrix: true
    case .transposedConvolution, .table, .other: false
    }
  }

  /// How sparsely patches of an input are taken when `samples` samples are seen in all.
  func patchStep(_ layer: LinearLayer, _ node: Node, _ input: Tensor, _ batch: Batch, samples: Int) throws -> Int {
    let perSample = try Patches.count(layer, node, input: input) / max(1, batch.sampleCount)
    return Patches.step(patches: perSample * samples, columns: WeightView.columns(layer))
  }

  /// Bytes that the moments of a layer take while they are gathered.
  private static func momentBytes(_ layer: LinearLayer) -> Int {
    let k = WeightView.columns(layer)
    return WeightView.groups(layer) * k * k * 8
  }

  /// Input statistics of the given layers (indices into `layers`) in the unquantized model. Layers are taken
  /// together as far as their moments fit `memory` bytes: each further round costs one forward pass.
  func inputStatistics(
    of indices: [Int], batches: [Batch], memory: Int, progress: (Int, Int) throws -> Void,
    each: (Int, InputStatistics) throws -> Void
  ) throws {
    let wanted = indices.filter { Engine.usesStatistics(layers[$0]) }
    // A worker holds the moments of the batch it is at, and one set holds the sum.
    let room = max(1, memory / (workers.threads + 1))
    var rounds: [[Int]] = []
    var used = 0
    for index in wanted {
      let bytes = Engine.momentBytes(layers[index])
      if rounds.isEmpty || used + bytes > room {
        rounds.append([])
        used = 0
      }
      rounds[rounds.count - 1].append(index)
      used += bytes
    }
    let samples = batches.reduce(0) { $0 + $1.sampleCount }
    for (number, round) in rounds.enumerated() {
      var sums: [[SecondMoment]] = []
      var orders: [[Int]] = []
      let names = round.map { layers[$0].input ?? "" }
      try workers.ordered(batches.count) { [self] position in
        let batch = batches[position]
        let outputs = try programs.forward(batch, outputs: names).run(batch, weights: weights)
        var parts: [[SecondMoment]] = []
        var order: [[Int]] = []
        for (index, activation) in zip(round, outputs) {
          let layer = layers[index]
          let node = layerNode(layer)
          let step = try patchStep(layer, node, activation, batch, samples: samples)
          var groups: [SecondMoment] = []
          for group in 0..<WeightView.groups(layer) {
            let patches = try Patches(layer, node, input: activation, group: group, step: step)
            var moment = try SecondMoment(dimension: patches.columns)
            try patches.forEach([activation], context) { try moment.add($0[0], rows: $1.count) }
            groups.append(moment)
            if group == 0 { order.append(patches.order) }
          }
          parts.append(groups)
        }
        return (parts, order)
      } combine: { position, partial in
        if sums.isEmpty {
          (sums, orders) = partial
        } else {
          for layer in sums.indices {
            for group in sums[layer].indices { try sums[layer][group].merge(partial.0[layer][group]) }
          }
        }
        try progress(number * batches.count + position + 1, rounds.count * batches.count)
      }
      for (position, index) in round.enumerated() {
        guard position < sums.count else { continue }
        let centred = if case .none = layers[index].bias { false } else { true }
        try each(index, InputStatistics(sums[position], order: orders[position], centred: centred))
        sums[position] = []
      }
    }
  }
}
