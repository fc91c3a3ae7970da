import CetAutodiff
import CetLayers
import CetQuantize
import CetTensor

/// Takes the input statistics of layers in the unquantized model.
public struct StatisticsMeasurement {
  private let bound: BoundModel
  private let batches: [FittingBatch]
  private let samples: Int

  public init(_ bound: BoundModel, _ batches: [FittingBatch]) {
    self.bound = bound
    self.batches = batches
    samples = batches.reduce(0) { $0 + $1.sampleCount }
  }

  /// Statistics of the given layers, by index. Layers are taken together as far as their moments fit `memory` bytes: each
  /// further round costs one forward pass. `each` is called once for all layers that share their statistics.
  /// - Parameter progress: batches done, of how many in all rounds.
  public func run(
    _ indices: [Int], memory: Int, progress: (Int, Int) throws(CetError) -> Void = { _, _ in },
    each: ([Int], InputStatistics) throws(CetError) -> Void
  ) throws(CetError) {
    let runs = bound.sharedInputs(try bound.observable(indices, batches), batches)
    // A worker holds the moments of the batch it is at, and one set holds the sum.
    let room = max(1, memory / (bound.workers.threads + 1))
    var rounds: [[[Int]]] = []
    var used = 0
    for run in runs {
      let bytes = bound.layers[run[0]].momentBytes
      if rounds.isEmpty || used + bytes > room {
        rounds.append([])
        used = 0
      }
      rounds[rounds.count - 1].append(run)
      used += bytes
    }
    // Of all layers: which of them share a round depends on the memory, and results must not.
    let parts = FittingBatch.parts(batches.count, columns: runs.map { bound.layers[$0[0]].columns }.max() ?? 0)
    for (number, round) in rounds.enumerated() {
      var sums = try moments(round.map { $0[0] }, parts) { done throws(CetError) in
        try progress(number * batches.count + done, rounds.count * batches.count)
      }
      for (position, run) in round.enumerated() where position < sums.count {
        let centred = bound.biasNames[run[0]] != nil
        try each(run, InputStatistics(sums[position], bound.layers[run[0]], centred: centred, bound.workers))
        sums[position] = .init()
      }
    }
  }

  /// Moments of the layers' inputs.
  private func moments(
    _ indices: [Int], _ parts: [Range<Int>], progress: (Int) throws(CetError) -> Void
  ) throws(CetError) -> [InputStatistics.Moments] {
    var sums = [InputStatistics.Moments](repeating: .init(), count: indices.count)
    try bound.workers.ordered(parts.count) { part in
      var found = [InputStatistics.Moments](repeating: .init(), count: indices.count)
      for batch in batches[parts[part]] {
        let reached = try bound.reached(batch.batch)
        let places = indices.indices.filter { reached.contains(indices[$0]) }
        let names = places.flatMap { bound.layers[indices[$0]].observed }
        let outputs = try bound.programs.forward(batch.batch, outputs: names).run(batch.batch, weights: bound.weights)
        let activations = Dictionary(zip(names, outputs), uniquingKeysWith: { first, _ in first })
        for place in places {
          try naming(indices[place]) { () throws(CetError) in try add(indices[place], activations, batch, to: &found[place]) }
        }
      }
      for place in found.indices { try naming(indices[place]) { () throws(CetError) in try found[place].flush() } }
      return found
    } combine: { part, partial in
      for (place, found) in partial.enumerated() { try sums[place].merge(found) }
      try progress(parts[part].upperBound)
    }
    return sums
  }

  /// Says of a failure which layer's inputs it is about.
  private func naming(_ index: Int, _ body: () throws(CetError) -> Void) throws(CetError) {
    do throws(CetError) { try body() } catch { throw error.at(.initializer(bound.layers[index].name)) }
  }

  /// Adds a batch's patches of one layer.
  private func add(
    _ index: Int, _ activations: [String: Tensor], _ batch: FittingBatch, to moments: inout InputStatistics.Moments
  ) throws(CetError) {
    let layer = bound.layers[index]
    if case .blocks(let names) = layer.kind {
      return try addBlocks(layer, names, activations, batch, to: &moments)
    }
    guard let activation = layer.input.flatMap({ activations[$0] }) else {
      throw CetError(.internal, "layer '\(layer.name)' has no input")
    }
    let step = try batch.patchStep(index, layer, activation, samples: samples)
    if layer.isDepthwise {
      let patches = try Patches(layer, layer.node, input: activation, group: nil, step: step, kept: nil)
      if moments.depthwise == nil {
        moments.depthwise = try ChannelMoment(
          dimension: patches.columns, channels: layer.groups, symmetric: true)
      }
      return try patches.forEach([activation], bound.context) { inputs, numbers throws(CetError) in
        try moments.depthwise?.add(inputs[0], rows: numbers.count)
      }
    }
    for group in 0..<layer.groups {
      let patches = try Patches(
        layer, layer.node, input: activation, group: group, step: step, kept: batch.rows[index])
      if moments.groups.count == group {
        moments.groups.append(try SecondMoment(dimension: patches.columns))
        moments.order = patches.order
      }
      try patches.forEach([activation], bound.context) { inputs, numbers throws(CetError) in
        try moments.groups[group].add(inputs[0], rows: numbers.count)
      }
    }
  }

  /// The rows of every value that the layer's blocks see.
  private func addBlocks(
    _ layer: LinearLayer, _ names: [[String]], _ activations: [String: Tensor], _ batch: FittingBatch,
    to moments: inout InputStatistics.Moments
  ) throws(CetError) {
    let columns = layer.columns / max(1, names.first?.count ?? 1)
    for name in layer.observed {
      guard let activation = try activations[name]?.rowMajor(), activation.shape.last == columns else {
        throw CetError(.internal, "layer '\(layer.name)': '\(name)' does not end with \(columns)")
      }
      let rows = activation.count / max(1, columns)
      let step = batch.patchStep(rows: rows, columns: columns, samples: samples)
      if moments.byName[name] == nil { moments.byName[name] = try SecondMoment(dimension: columns) }
      try withExtendedLifetime(activation) { () throws(CetError) in
        let first = activation.floats
        if step == 1 { return try moments.byName[name]?.add(first, rows: rows) ?? () }
        for row in stride(from: 0, to: rows, by: step) { try moments.byName[name]?.add(first + row * columns, rows: 1) }
      }
    }
  }
}
