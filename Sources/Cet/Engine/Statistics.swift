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
    case .convolution, .matrix, .leftMatrix: true
    case .transposedConvolution(let groups): groups == 1
    case .table, .other: false
    }
  }

  /// How sparsely patches of an input are taken when `samples` samples are seen in all.
  func patchStep(_ index: Int, _ input: Tensor, _ batch: FittingBatch, samples: Int) throws -> Int {
    let layer = layers[index]
    let all = try Patches.count(layer, layer.node, input: input)
    let patches = Double(batch.count(index, of: all)) / Double(max(1, batch.sampleCount)) * Double(samples)
    return Patches.step(patches: Int(min(patches, 1e15)), columns: WeightView.columns(layer))
  }

  /// Bytes that the moments of a layer take while they are gathered.
  private static func momentBytes(_ layer: LinearLayer) -> Int {
    let k = WeightView.columns(layer)
    return WeightView.groups(layer) * k * k * 8
  }

  /// Runs of batches whose moments are gathered in one place. Merging moments costs as much as some hundred patches, so
  /// that wide layers have few runs; their number must not depend on that of the threads.
  static func parts(_ batches: Int, columns: Int) -> [Range<Int>] {
    let count = min(batches, columns > 1024 ? 8 : 32)
    return (0..<count).map { ($0 * batches / count)..<(($0 + 1) * batches / count) }
  }

  /// Input statistics of the given layers (indices into `layers`) in the unquantized model. Layers are taken
  /// together as far as their moments fit `memory` bytes: each further round costs one forward pass. `each` is called
  /// once for all layers that share their statistics.
  func inputStatistics(
    of indices: [Int], batches: [FittingBatch], memory: Int, progress: (Int, Int) throws -> Void,
    each: ([Int], InputStatistics) throws -> Void
  ) throws {
    let runs = sharedInputs(try observable(indices, batches), batches)
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
    var sums = [(groups: [SecondMoment], order: [Int])](repeating: ([], []), count: indices.count)
    let parts = Engine.parts(batches.count, columns: indices.map { WeightView.columns(layers[$0]) }.max() ?? 0)
    try workers.ordered(parts.count) { [self] part in
      var found = [(groups: [SecondMoment], order: [Int])](repeating: ([], []), count: indices.count)
      for batch in batches[parts[part]] {
        let reached = try reached(batch.batch)
        let places = indices.indices.filter { reached.contains(indices[$0]) }
        let names = places.map { layers[indices[$0]].input ?? "" }
        let outputs = try programs.forward(batch.batch, outputs: names).run(batch.batch, weights: weights)
        for (place, activation) in zip(places, outputs) {
          let index = indices[place]
          let layer = layers[index]
          let step = try patchStep(index, activation, batch, samples: samples)
          for group in 0..<WeightView.groups(layer) {
            let patches = try Patches(
              layer, layer.node, input: activation, group: group, step: step, kept: batch.rows[index])
            if found[place].groups.count == group {
              found[place].groups.append(try SecondMoment(dimension: patches.columns))
              found[place].order = patches.order
            }
            try patches.forEach([activation], context) { try found[place].groups[group].add($0[0], rows: $1.count) }
          }
        }
      }
      for place in found.indices { for group in found[place].groups.indices { try found[place].groups[group].flush() } }
      return found
    } combine: { part, partial in
      for (place, found) in partial.enumerated() where !found.groups.isEmpty {
        if sums[place].groups.isEmpty {
          sums[place] = found
        } else {
          for group in found.groups.indices { try sums[place].groups[group].merge(found.groups[group]) }
        }
      }
      try progress(parts[part].upperBound)
    }
    return sums
  }
}
