import CetAutodiff
import CetTensor

/// Rounds all tensors of a plan.
struct PlanRounding {
  let session: Session
  /// By layer index.
  let bits: [Int: Int]
  let granularity: Granularity
  let maxMemory: Int?
  let monitor: Monitor

  func layers(_ rounding: Rounding, references: [Tensor]) throws -> [Int: QuantizedLayer] {
    let parallel = try parallel(rounding, session.batches)
    guard rounding == .compensated, let options = try sequentialOptions(references) else { return parallel }
    return try sequential(options, session.batches, tables: parallel)
  }

  /// Every layer by itself (Steps 0 to 2 and 4, or nearest).
  private func parallel(_ rounding: Rounding, _ batches: [Batch]) throws -> [Int: QuantizedLayer] {
    try session.candidates(
      bits.mapValues { [$0] }, fitting: batches, rounding: rounding, granularity: granularity, maxMemory: maxMemory,
      monitor: monitor
    ).compactMapValues(\.first)
  }

  /// Layer after layer (Step 7); layers without input statistics come from `tables`.
  private func sequential(
    _ options: SequentialOptions, _ batches: [Batch], tables: [Int: QuantizedLayer]
  ) throws -> [Int: QuantizedLayer] {
    try session.engine.sequential(
      bits, fixed: tables.filter { !Engine.usesStatistics(session.engine.layers[$0.key]) }, batches: batches,
      granularity: granularity, options
    ) { try monitor.report(.rounding, $0, of: $1) }
  }

  /// What Step 7 overfits, held-out samples show: fitted on the other samples, it must beat the parallel result
  /// there. nil when it does not, or when there are too few samples to hold some out.
  private func sequentialOptions(_ references: [Tensor]) throws -> SequentialOptions? {
    let (fitting, heldOut) = session.split
    guard fitting.count < session.batches.count else { return nil }
    let fit = fitting.map { session.batches[$0] }
    let (held, heldReferences) = (heldOut.map { session.batches[$0] }, heldOut.map { references[$0] })
    func loss(_ layers: [Int: QuantizedLayer]) throws -> Double {
      var changed: [String: Tensor] = [:]
      for (index, layer) in layers { changed.merge(try session.engine.replacement(index, layer)) { $1 } }
      return try session.engine.meanLoss(held, references: heldReferences, changed: changed)
    }
    let tables = try parallel(.gptq, fit)
    var best = (loss: try loss(tables), options: SequentialOptions?.none)
    let samples = fit.reduce(0) { $0 + $1.sampleCount }
    monitor.log(.info, "held-out loss, parallel: \(best.loss)")
    for matches in [false, true] {
      let options = SequentialOptions(ridge: PlanRounding.ridge(samples: samples), matchesVariance: matches)
      let value = try loss(sequential(options, fit, tables: tables))
      monitor.log(.info, "held-out loss, sequential\(matches ? " with variance matching" : ""): \(value)")
      if value < best.loss { best = (value, options) }
    }
    return best.options
  }

  /// 0.05 from 512 samples on, 0.5 at a hundred.
  private static func ridge(samples: Int) -> Double {
    let ratio = 512 / Double(max(samples, 1))
    return min(max(0.05 * ratio * ratio.squareRoot().squareRoot(), 0.05), 0.5)
  }
}
