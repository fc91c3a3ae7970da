import CetAutodiff
import CetTensor

/// Finds the rows of the layers' inputs that count. Padded tokens, and tokens that no pooling reads, would only blur the
/// statistics of those that matter. They are found by their effect, not by the name of an input: whatever masks them, the
/// gradient of the output with respect to their row of the layer's output is zero (below 10⁻⁶ of the largest row).
public struct RelevantRows {
  private let bound: BoundModel
  /// Indices of the layers whose rows are looked at.
  private let asked: [Int]

  /// Layers with fewer outputs are not asked: after a Relu all of a few channels may be zero by chance, and such a
  /// row is no padding.
  private static let fewestChannels = 16

  public init(_ bound: BoundModel) {
    self.bound = bound
    asked = bound.layers.indices.filter { index in
      guard case .matrix = bound.layers[index].kind else { return false }
      return bound.layers[index].channels >= RelevantRows.fewestChannels && !bound.layers[index].output.isEmpty
    }
  }

  /// The batches, each with its rows that count.
  public func run(_ batches: [Batch]) throws(CetError) -> [FittingBatch] {
    var programs: [Batch.Signature: InfluenceProgram] = [:]
    for batch in batches where programs[batch.signature] == nil && !asked.isEmpty {
      let reached = try bound.reached(batch)
      let names = asked.filter(reached.contains).map { bound.layers[$0].output }
      do {
        programs[batch.signature] = try InfluenceProgram(
          bound.model, batch: batch, values: names, output: bound.output, bound.context)
      } catch {
        guard error.code == .unsupportedOperator else { throw error }
        // An operator without a derivative: all rows count.
        return batches.map { FittingBatch(batch: $0, rows: [:]) }
      }
    }
    var result: [FittingBatch] = []
    try bound.workers.ordered(batches.count) { position in
      var rows: [Int: [Int]] = [:]
      let batch = batches[position]
      guard let program = programs[batch.signature] else { return rows }
      let reached = try bound.reached(batch)
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
}
