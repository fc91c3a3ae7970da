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
  func patchStep(_ index: Int, _ input: Tensor, _ batch: FittingBatch, samples: Int) throws -> Int {
    let layer = layers[index]
    let all = try Patches.count(layer, layerNode(layer), input: input)
    let patches = Double(batch.count(index, of: all)) / Double(max(1, batch.sampleCount)) * Double(samples)
    return Patches.step(patches: Int(min(patches, 1e15)), columns: WeightView.columns(layer))
  }

  /// Bytes that the moments of a layer take while they are gathered.
  private static func momentBytes(_ layer: LinearLayer) -> Int {
    let k = WeightView.columns(layer)
    return WeightView.groups(layer) * k * k * 8
  }

  /// Input statistics of the given layers (indices into `layers`) in the unquantized model. Layers are taken
  /// together as far as their moments fit `memory` bytes: each further round costs one forward pass. `each` is called
  /// once for all layers that share their statistics.
  func inputStatistics(
    of indices: [Int], batches: [FittingBatch], memory: Int, progress: (Int, Int) throws -> Void,
    each: ([Int], InputStatistics) throws -> Void
  ) throws {
    let runs = sharedInputs(indices.filter { Engine.usesStatistics(layers[$0]) }, batches)
    // A worker holds the moments of the batch it is at, and one set holds the sum.
    let room = max(1, memory / (workers.threads + 1))
    var rounds: [[[Int]]] = []
    var used = 0
    for run in runs {
      let bytes = Engine.momentBytes(layers[run[0]])
      if rounds.isEmpty || used + bytes > room {
        rounds.append([])
        used = 0
      }
      rounds[rounds.count - 1].append(run)
      used += bytes
    }
    for (number, round) in rounds.enumerated() {
      var sums = try moments(round.map { $0[0] }, batches) { try progress(number * batches.count + $0, rounds.count * batches.count) }
      for (position, run) in round.enumerated() where position < sums.count {
        let centred = biasNames[run[0]] != nil
        try each(run, InputStatistics(sums[position].groups, order: sums[position].order, centred: centred))
        sums[position].groups = []
      }
    }
  }

  /// Moments of the layers' inputs, one a convolution group, and the order of their entries.
  private func moments(
    _ indices: [Int], _ batches: [FittingBatch], progress: (Int) throws -> Void
  ) throws -> [(groups: [SecondMoment], order: [Int])] {
    let samples = batches.reduce(0) { $0 + $1.sampleCount }
    let names = indices.map { layers[$0].input ?? "" }
    var sums: [(groups: [SecondMoment], order: [Int])] = []
    try workers.ordered(batches.count) { [self] position in
      let batch = batches[position]
      let outputs = try programs.forward(batch.batch, outputs: names).run(batch.batch, weights: weights)
      return try zip(indices, outputs).map { index, activation in
        let layer = layers[index]
        let step = try patchStep(index, activation, batch, samples: samples)
        var order: [Int] = []
        let groups = try (0..<WeightView.groups(layer)).map { group in
          let patches = try Patches(
            layer, layerNode(layer), input: activation, group: group, step: step, kept: batch.rows[index])
          var moment = try SecondMoment(dimension: patches.columns)
          try patches.forEach([activation], context) { try moment.add($0[0], rows: $1.count) }
          if group == 0 { order = patches.order }
          return moment
        }
        return (groups: groups, order: order)
      }
    } combine: { position, partial in
      if sums.isEmpty {
        sums = partial
      } else {
        for layer in sums.indices {
          for group in sums[layer].groups.indices { try sums[layer].groups[group].merge(partial[layer].groups[group]) }
        }
      }
      try progress(position + 1)
    }
    return sums
  }
}
