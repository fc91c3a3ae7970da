import CetAutodiff
import CetGraph
import CetLayers
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

  init(_ moments: Moments, _ layer: LinearLayer, centred: Bool) throws {
    let order = moments.order
    if case .blocks(let names) = layer.kind {
      groups = try names.map { try InputStatistics.group($0.compactMap { name in moments.byName[name] }) }
      return
    }
    if let moment = moments.depthwise {
      groups = (0..<moment.channels).map {
        Group(mean: moment.rightMean($0), covariance: moment.covariance($0, centred: centred), count: moment.count)
      }
      return
    }
    groups = try moments.groups.map { moment in
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

  /// Blocks see each other's inputs in no product: their covariance is zero.
  private static func group(_ blocks: [SecondMoment]) throws -> Group {
    let columns = blocks.reduce(0) { $0 + $1.dimension }
    var mean: [Double] = []
    var covariance = [Double](repeating: 0, count: columns * columns)
    for block in blocks {
      let (k, first) = (block.dimension, mean.count)
      let values = try block.covariance(centred: false)
      for i in 0..<k { for j in 0..<k { covariance[(first + i) * columns + first + j] = values[i * k + j] } }
      mean += try block.mean()
    }
    return Group(mean: mean, covariance: covariance, count: blocks.map(\.count).min() ?? 0)
  }

  /// What is gathered for one layer.
  struct Moments {
    /// One a convolution group.
    var groups: [SecondMoment] = []
    /// Of all groups of a depthwise convolution.
    var depthwise: ChannelMoment?
    /// Of the values that blocks see.
    var byName: [String: SecondMoment] = [:]
    /// Entry j of a patch is entry `order[j]` of a weight row.
    var order: [Int] = []

    private var isEmpty: Bool { groups.isEmpty && byName.isEmpty && depthwise == nil }

    mutating func flush() throws {
      for index in groups.indices { try groups[index].flush() }
      for name in byName.keys { try byName[name]?.flush() }
    }

    mutating func merge(_ other: Moments) throws {
      if other.isEmpty { return }
      if isEmpty {
        self = other
        return
      }
      for index in groups.indices { try groups[index].merge(other.groups[index]) }
      if let part = other.depthwise { try depthwise?.merge(part) }
      for (name, moment) in other.byName { try byName[name]?.merge(moment) }
    }
  }
}

extension Engine {
  /// How sparsely patches of an input are taken when `samples` samples are seen in all.
  func patchStep(_ index: Int, _ input: Tensor, _ batch: FittingBatch, samples: Int) throws -> Int {
    let layer = layers[index]
    let all = try Patches.count(layer, layer.node, input: input)
    let patches = Double(batch.count(index, of: all)) / Double(max(1, batch.sampleCount)) * Double(samples)
    return SamplePolicy.patchStep(patches: Int(min(patches, 1e15)), columns: layer.columns)
  }

  /// Bytes that the moments of a layer take while they are gathered.
  static func momentBytes(_ layer: LinearLayer) -> Int {
    var (k, count) = (layer.columns, layer.groups)
    if case .blocks(let names) = layer.kind {
      k /= max(1, names.first?.count ?? 1)
      count = layer.observed.count
    }
    return .saturatingProduct(count, k, k, 8)
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
    // Of all layers: which of them share a round depends on the memory, and results must not.
    let parts = Engine.parts(batches.count, columns: runs.map { layers[$0[0]].columns }.max() ?? 0)
    for (number, round) in rounds.enumerated() {
      var sums = try moments(round.map { $0[0] }, batches, parts) { try progress(number * batches.count + $0, rounds.count * batches.count) }
      for (position, run) in round.enumerated() where position < sums.count {
        let centred = biasNames[run[0]] != nil
        try each(run, InputStatistics(sums[position], layers[run[0]], centred: centred))
        sums[position] = .init()
      }
    }
  }

  /// Moments of the layers' inputs.
  private func moments(
    _ indices: [Int], _ batches: [FittingBatch], _ parts: [Range<Int>], progress: (Int) throws -> Void
  ) throws -> [InputStatistics.Moments] {
    let samples = batches.reduce(0) { $0 + $1.sampleCount }
    var sums = [InputStatistics.Moments](repeating: .init(), count: indices.count)
    try workers.ordered(parts.count) { [self] part in
      var found = [InputStatistics.Moments](repeating: .init(), count: indices.count)
      for batch in batches[parts[part]] {
        let reached = try reached(batch.batch)
        let places = indices.indices.filter { reached.contains(indices[$0]) }
        let names = places.flatMap { layers[indices[$0]].observed }
        let outputs = try programs.forward(batch.batch, outputs: names).run(batch.batch, weights: weights)
        let activations = Dictionary(zip(names, outputs), uniquingKeysWith: { first, _ in first })
        for place in places {
          try add(indices[place], activations, batch, samples: samples, to: &found[place])
        }
      }
      for place in found.indices { try found[place].flush() }
      return found
    } combine: { part, partial in
      for (place, found) in partial.enumerated() { try sums[place].merge(found) }
      try progress(parts[part].upperBound)
    }
    return sums
  }

  /// Adds a batch's patches of one layer.
  private func add(
    _ index: Int, _ activations: [String: Tensor], _ batch: FittingBatch, samples: Int, to moments: inout InputStatistics.Moments
  ) throws {
    let layer = layers[index]
    if case .blocks(let names) = layer.kind {
      return try addBlocks(layer, names, activations, batch, samples: samples, to: &moments)
    }
    guard let activation = layer.input.flatMap({ activations[$0] }) else {
      throw CetError(.internal, "layer '\(layer.name)' has no input")
    }
    let step = try patchStep(index, activation, batch, samples: samples)
    if layer.isDepthwise {
      let patches = try Patches(layer, layer.node, input: activation, group: nil, step: step, kept: nil)
      if moments.depthwise == nil {
        moments.depthwise = try ChannelMoment(
          dimension: patches.columns, channels: layer.groups, symmetric: true)
      }
      return try patches.forEach([activation], context) { try moments.depthwise?.add($0[0], rows: $1.count) }
    }
    for group in 0..<layer.groups {
      let patches = try Patches(
        layer, layer.node, input: activation, group: group, step: step, kept: batch.rows[index])
      if moments.groups.count == group {
        moments.groups.append(try SecondMoment(dimension: patches.columns))
        moments.order = patches.order
      }
      try patches.forEach([activation], context) { try moments.groups[group].add($0[0], rows: $1.count) }
    }
  }

  /// The rows of every value that the layer's blocks see.
  private func addBlocks(
    _ layer: LinearLayer, _ names: [[String]], _ activations: [String: Tensor], _ batch: FittingBatch, samples: Int,
    to moments: inout InputStatistics.Moments
  ) throws {
    let columns = layer.columns / max(1, names.first?.count ?? 1)
    for name in layer.observed {
      guard let activation = try activations[name]?.rowMajor(), activation.shape.last == columns else {
        throw CetError(.internal, "layer '\(layer.name)': '\(name)' does not end with \(columns)")
      }
      let rows = activation.count / max(1, columns)
      let all = Double(rows) / Double(max(1, batch.sampleCount)) * Double(samples)
      let step = SamplePolicy.patchStep(patches: Int(min(all, 1e15)), columns: columns)
      if moments.byName[name] == nil { moments.byName[name] = try SecondMoment(dimension: columns) }
      try withExtendedLifetime(activation) {
        let first = activation.floats
        if step == 1 { return try moments.byName[name]?.add(first, rows: rows) ?? () }
        for row in stride(from: 0, to: rows, by: step) { try moments.byName[name]?.add(first + row * columns, rows: 1) }
      }
    }
  }
}
