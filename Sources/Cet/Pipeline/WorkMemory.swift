import CetAutodiff
import CetMeasure
import CetQuantize
import CetTensor

/// Bytes that planning or quantizing holds at most, computed from the shapes before anything runs.
struct WorkMemory: Equatable {
  /// Weights, samples with their copies, reference outputs.
  var fixed = 0
  /// Quantized versions of the layers, as codes and as floats.
  var versions = 0
  /// Moments of the inputs of the layers that are taken together, and the factors made of one layer's.
  var statistics = 0
  /// Values of the model on the batches that run at a time.
  var activations = 0

  var total: Int { [versions, statistics, activations].reduce(fixed, Int.saturatingSum) }

  var text: String {
    "weights and samples \(fixed), quantized versions \(versions), statistics \(statistics), activations \(activations)"
  }
}

extension Session {
  /// What a call is going to do.
  enum Work {
    /// Every layer at several widths, each of them measured alone; then the whole, to be judged.
    case planning
    /// Every layer at one width, one after the other where the rounding is `compensated`.
    case quantizing
  }

  /// Uses as many threads as `max_memory` has room for, of those that were asked for; throws when there is none for one.
  /// What the caller did not limit may take all that is available.
  /// - Returns: what is going to be held at most.
  @discardableResult
  mutating func reserve(
    _ work: Work, _ widths: [[Int]], rounding: Rounding, maxMemory: Int?, _ monitor: Monitor
  ) throws(CetError) -> WorkMemory {
    let limit = maxMemory.map(SystemMemory.attainable) ?? SystemMemory.availableBytes ?? .max
    let costs = try batchCosts()
    var need = memory(work, widths, rounding, costs, threads: 1)
    guard need.total <= limit else {
      throw CetError(
        .outOfMemory, "\(work) needs at least \(need.total) bytes with one thread (\(need.text)), max_memory is \(limit)",
        bytesNeeded: need.total)
    }
    let asked = bound.workers.threads
    var threads = asked
    while threads > 1 {
      let more = memory(work, widths, rounding, costs, threads: threads)
      if more.total <= limit {
        need = more
        break
      }
      threads -= 1
    }
    if threads < asked {
      monitor.log(.info, "\(threads) of \(asked) threads, because max_memory is \(limit)")
      try self.limit(threads: threads)
    }
    // Half of what is left is for what saves runs, the other half for taking layers together.
    limitReadings(to: (limit - need.total) / 2)
    statisticsBytes = need.statistics + (limit - need.total) - (rounding == .compensated ? readingsRoom : heldIn.byteCount)
    return need
  }

  /// Bytes of one batch: a baseline with a rerun beside it; of a run all values, those that live together at most, and the
  /// output.
  private struct BatchCost {
    var rerun: Int
    var made: Int
    var live: Int
    var output: Int
  }

  private func batchCosts() throws(CetError) -> [BatchCost] {
    var known: [Batch.Signature: BatchCost] = [:]
    return try batches.map { batch throws(CetError) in
      if let cost = known[batch.signature] { return cost }
      let program = try bound.programs.forward(batch, outputs: [bound.output])
      let cost = BatchCost(
        rerun: try program.byteCount, made: program.madeByteCount, live: program.liveByteCount, output: program.outputByteCount)
      known[batch.signature] = cost
      return cost
    }
  }

  private func memory(
    _ work: Work, _ widths: [[Int]], _ rounding: Rounding, _ costs: [BatchCost], threads: Int
  ) -> WorkMemory {
    // Sizes in double: a bound may be larger than any whole number here, and needs no last digit.
    let planned = bound.layers.indices.filter { !widths[$0].isEmpty }
    let usesStatistics = rounding == .nearest ? [] : planned.filter { bound.layers[$0].usesStatistics }
    let moments = usesStatistics.map { Double(bound.layers[$0].momentBytes) }
    let largest = moments.max() ?? 0
    let copies = Double(1 + (rounding == .nearest ? 0 : copyCount))
    let sums = Double(threads + 1)

    // A weight is in the file's bytes, which are in memory, and in the model as it runs.
    let weights = 2 * bound.model.graph.initializers.reduce(0.0) { $0 + Double($1.tensor.byteCount) }
    let samples = batches.reduce(0.0) { $0 + $1.inputs.values.reduce(0.0) { $0 + Double($1.byteCount) } }
    // What programs computed while they were made, they hold.
    let fixed = weights + Double(bound.context.account.byteCount) + copies * (samples + costs.reduce(0.0) { $0 + Double($1.output) })
    // Codes, and floats that stand in the model's place; and the layer at work as a matrix: as it is, its target, its codes
    // and what is left to round, on their way.
    let widest = planned.map { Double(bound.layers[$0].count) }.max() ?? 0
    let versions = planned.reduce(24 * widest) { $0 + Double(bound.layers[$1].count * 5) * Double(widths[$1].count) }
    // A sum, and one a thread on its way to it; then a layer's covariance, in the order of its weights, and its factors for both codings.
    // Layers are taken together where there is more room (`statisticsBytes`).
    var statistics = (sums + 6) * largest
    if work == .planning {
      statistics = max(statistics, Double(ActivationMeasurement.byteCount(activations: bound.activations.all.count, threads: threads)))
    }
    let running = min(Double(threads), Double(batches.count) * copies)
    // Derivatives come after the reruns, with masks and products in buffers of other sizes.
    var activations = running * (work == .planning ? 2.5 : 1) * (costs.map { Double($0.rerun) }.max() ?? 0)
    if rounding == .compensated {
      // The sequential pass, which planning judges by. Of both networks: inputs as such, against each other, and against what
      // the output is added to.
      let paired = usesStatistics.map { 3 * Double(bound.layers[$0].momentBytes) + 8 * Double(bound.layers[$0].count) }
      statistics = max(statistics, (sums + 1) * (paired.max() ?? 0) + 5 * largest)
      // What a layer of the unquantized network reads, or gives, at a batch's patches, and the residual there.
      statistics += Double(threads) * 2 * (costs.map { Double($0.live) }.max() ?? 0)
      // All batches stand at the same layer, in both networks; freed values of the layers before are reused up to a limit.
      let standing = 2 * copies * costs.reduce(0.0) { $0 + Double($1.live) }
      let idle = min(Double(SequentialPass.idleLimit), 2 * copies * costs.reduce(0.0) { $0 + Double($1.made) })
      activations = max(activations, standing + idle)
    }
    // Buffers come in classes of size, an eighth apart.
    activations *= 1.125
    return WorkMemory(
      fixed: Int(saturating: fixed), versions: Int(saturating: versions), statistics: Int(saturating: statistics),
      activations: Int(saturating: activations))
  }
}

extension Session.Work: CustomStringConvertible {
  var description: String {
    switch self {
    case .planning: "planning"
    case .quantizing: "quantizing"
    }
  }
}
