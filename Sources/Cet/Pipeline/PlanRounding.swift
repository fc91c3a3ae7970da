import CetAutodiff
import CetQuantize
import CetTensor

/// Rounds all tensors of a plan.
struct PlanRounding {
  let session: Session
  /// By layer index.
  let bits: [Int: Int]
  let granularity: Granularity
  let maxMemory: Int?
  let seed: UInt64
  let monitor: Monitor

  func layers(_ rounding: Rounding, references: [Tensor]) throws -> [Int: QuantizedLayer] {
    let parallel = try parallel(rounding, session.batches)
    guard rounding == .compensated else { return parallel }
    // From the fitting part alone: the held-out part judges what they are used for.
    let fitting = session.split.fitting
    let curvatures = try session.engine.outputCurvatures(
      fitting.map { session.batches[$0] }, references: fitting.map { references[$0] }, seed: seed)
    guard let options = try sequentialOptions(references, curvatures) else { return parallel }
    return try sequential(options, session.batches, tables: parallel, curvatures)
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
    _ options: SequentialOptions, _ batches: [Batch], tables: [Int: QuantizedLayer], _ curvatures: [[Double]?]
  ) throws -> [Int: QuantizedLayer] {
    try session.engine.sequential(
      bits, fixed: tables.filter { !Engine.usesStatistics(session.engine.layers[$0.key]) }, batches: batches,
      granularity: granularity, outputCurvatures: curvatures, options
    ) { try monitor.report(.rounding, $0, of: $1) }
  }

  /// What Step 7 overfits, held-out samples show: fitted on the other samples, it must beat the parallel result
  /// there. nil when it does not, or when there are too few samples to hold some out.
  private func sequentialOptions(_ references: [Tensor], _ curvatures: [[Double]?]) throws -> SequentialOptions? {
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
    for (matches, kronecker) in [(false, false), (true, false), (false, true), (true, true)] {
      let options = SequentialOptions(
        ridge: OutputCorrection.relativeRidge(samples: samples), matchesVariance: matches, usesOutputCurvature: kronecker)
      let value = try loss(sequential(options, fit, tables: tables, curvatures))
      monitor.log(
        .info,
        "held-out loss, sequential\(matches ? " with variance matching" : "")\(kronecker ? " with output curvature" : ""): \(value)")
      if value < best.loss { best = (value, options) }
    }
    return best.options
  }
}
