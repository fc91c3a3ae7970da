import CetAutodiff
import CetTensor

/// A batch that statistics are taken from, and which rows of the layers' inputs count in it.
struct FittingBatch: Sendable {
  let batch: Batch
  /// By layer index the rows (all axes but the last, flattened) that can change the model's output, ascending;
  /// layers that are missing use all of theirs.
  let rows: [Int: [Int]]

  var sampleCount: Int { batch.sampleCount }

  /// Rows of a layer, of `all` that its input has.
  func count(_ layer: Int, of all: Int) -> Int { rows[layer]?.count ?? all }
}

extension Engine {
  /// Layers with fewer outputs are not asked: after a Relu all of a few channels may be zero by chance, and such a
  /// row is no padding.
  private static let fewestChannels = 16

  /// Batches with the rows that count. Padded tokens, and tokens that no pooling reads, would only blur the statistics
  /// of those that matter. They are found by their effect, not by the name of an input: whatever masks them, the
  /// gradient of the output with respect to their row of the layer's output is zero (below 10⁻⁶ of the largest row).
  func fittingBatches(_ batches: [Batch]) throws -> [FittingBatch] {
    let asked = layers.indices.filter { index in
      guard case .matrix = layers[index].kind else { return false }
      return layers[index].channels >= Engine.fewestChannels && !layers[index].output.isEmpty
    }
    var programs: [Batch.Signature: InfluenceProgram] = [:]
    for batch in batches where programs[batch.signature] == nil && !asked.isEmpty {
      let reached = try reached(batch)
      let names = asked.filter(reached.contains).map { layers[$0].output }
      do {
        programs[batch.signature] = try InfluenceProgram(model, batch: batch, values: names, output: output, context)
      } catch let error as CetError where error.code == .unsupportedOperator {
        // An operator without a derivative: all rows count.
        return batches.map { FittingBatch(batch: $0, rows: [:]) }
      }
    }
    var result: [FittingBatch] = []
    try workers.ordered(batches.count) { position in
      var rows: [Int: [Int]] = [:]
      let batch = batches[position]
      guard let program = programs[batch.signature] else { return rows }
      let reached = try reached(batch)
      for (index, sums) in zip(asked.filter(reached.contains), try program.rowSums(batch, seed: UInt64(position))) {
        guard let sums, let largest = sums.max(), largest > 0, largest.isFinite else { continue }
        let kept = sums.indices.filter { sums[$0] > 1e-6 * largest }
        if kept.count < sums.count { rows[index] = kept }
      }
      return rows
    } combine: { position, rows in
      result.append(FittingBatch(batch: batches[position], rows: rows))
    }
    return result
  }

  /// Runs of layers (of `indices`, in their order) that see the same rows of the same input: one covariance serves
  /// the whole run, as that of query, key and value.
  func sharedInputs(_ indices: [Int], _ batches: [FittingBatch]) -> [[Int]] {
    var runs: [[Int]] = []
    for index in indices {
      if let first = runs.last?.first, sharesInput(first, index),
        batches.allSatisfy({ $0.rows[first] == $0.rows[index] })
      {
        runs[runs.count - 1].append(index)
      } else {
        runs.append([index])
      }
    }
    return runs
  }

  private func sharesInput(_ a: Int, _ b: Int) -> Bool {
    guard case .matrix = layers[a].kind, case .matrix = layers[b].kind else { return false }
    return layers[a].input != nil && layers[a].input == layers[b].input
      && (biasNames[a] == nil) == (biasNames[b] == nil)
  }
}
