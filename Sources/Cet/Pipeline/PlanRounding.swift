import CetAutodiff
import CetQuantize
import CetTensor

/// Rounds all tensors of a plan.
struct PlanRounding {
  let session: Session
  /// By layer index.
  let bits: [Int: Int]
  let form: GridForm
  let maxMemory: Int?
  let monitor: Monitor

  func layers(_ rounding: Rounding, references: [Tensor]) throws -> [Int: QuantizedLayer] {
    guard rounding == .compensated, var options = try sequentialOptions(references) else {
      return try parallel(rounding, bits, session.fitting(rounding), effort: .thorough)
    }
    options.effort = .thorough
    return try sequential(options, session.fitting(rounding))
  }

  /// Every layer by itself (Steps 0 to 2 and 4, or nearest).
  private func parallel(
    _ rounding: Rounding, _ bits: [Int: Int], _ batches: [FittingBatch], effort: RoundingEffort = .usual
  ) throws -> [Int: QuantizedLayer] {
    try session.candidates(
      bits.mapValues { [$0] }, fitting: batches, rounding: rounding, form: form, maxMemory: maxMemory,
      effort: effort, monitor: monitor
    ).compactMapValues(\.first)
  }

  /// Layers without input statistics, which are the same whatever the others are fitted to.
  private let tables = Once<[Int: QuantizedLayer]>()

  init(
    session: Session, bits: [Int: Int], form: GridForm, maxMemory: Int?, monitor: Monitor
  ) {
    self.session = session
    self.bits = bits
    self.form = form
    self.maxMemory = maxMemory
    self.monitor = monitor
  }

  /// Layer after layer (Step 7); layers without input statistics first, so that the pass absorbs their error, and
  /// recurrent weights and those of loops, whose inputs they make themselves.
  private func sequential(_ options: SequentialOptions, _ batches: [FittingBatch]) throws -> [Int: QuantizedLayer] {
    let observed = Set(try session.engine.observable(Array(bits.keys), batches))
    var fixed = try tables.value { try parallel(.nearest, bits.filter { !observed.contains($0.key) }, batches) }
    let repeated = bits.filter { observed.contains($0.key) && !session.engine.layers[$0.key].isSequential }
    if !repeated.isEmpty { fixed.merge(try parallel(.gptq, repeated, batches, effort: options.effort)) { $1 } }
    return try session.engine.sequential(bits, fixed: fixed, batches: batches, form: form, options) {
      try monitor.report(.rounding, $0, of: $1)
    }
  }

  /// What Step 7 overfits, held-out samples show: fitted on the other samples, it must beat the parallel result
  /// there. nil when it does not, or when there are too few samples to hold some out.
  private func sequentialOptions(_ references: [Tensor]) throws -> SequentialOptions? {
    let (fitting, heldOut) = try session.split()
    guard fitting.count < session.batches.count else { return nil }
    let fit = try session.fitting(.compensated, fitting)
    let (held, heldReferences) = (heldOut.map { session.batches[$0] }, heldOut.map { references[$0] })
    func losses(_ layers: [Int: QuantizedLayer]) throws -> [Double] {
      var changed: [String: Tensor] = [:]
      for (index, layer) in layers { changed.merge(try session.engine.replacement(index, layer)) { $1 } }
      return try session.engine.sampleLosses(
        held, references: heldReferences, changed: changed, temperature: Engine.judgingTemperature)
    }
    let parallel = try losses(parallel(.gptq, bits, fit))
    var best = (loss: PlanRounding.mean(parallel), options: SequentialOptions?.none)
    let samples = fit.reduce(0) { $0 + $1.sampleCount }
    monitor.log(.info, "held-out loss, parallel: \(best.loss)")
    let ridge = OutputCorrection.relativeRidge(samples: samples)
    // Of less than some 250 samples more ridge is often better, of more hardly ever.
    let further = samples < 256 ? [(true, 4 * ridge)] : []
    for (matches, ridge) in [(false, ridge), (true, ridge)] + further {
      let options = SequentialOptions(ridge: ridge, matchesVariance: matches)
      let values = try losses(sequential(options, fit))
      let value = PlanRounding.mean(values)
      monitor.log(.info, "held-out loss, sequential\(matches ? " with variance matching" : ""), ridge \(ridge): \(value)")
      if value < best.loss, PlanRounding.isBelow(values, parallel) { best = (value, options) }
    }
    return best.options
  }

  private static func mean(_ values: [Double]) -> Double { values.reduce(0, +) / Double(max(1, values.count)) }

  /// Whether the mean difference of paired losses, one a sample, is negative by more than its standard error: with a few
  /// held-out samples a gain may be chance, and then the method that risks less stays. Of few samples the error itself is
  /// not known well: the factor is Student's for five sixths, 1.8 for two samples.
  static func isBelow(_ values: [Double], _ others: [Double]) -> Bool {
    let differences = zip(values, others).map { $0 - $1 }
    guard differences.count > 1 else { return false }
    let mean = mean(differences)
    let squares = differences.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
    let standardError = (squares / Double(differences.count * (differences.count - 1))).squareRoot()
    return mean < -standardError * (1 + 0.8 / Double(differences.count - 1))
  }
}
