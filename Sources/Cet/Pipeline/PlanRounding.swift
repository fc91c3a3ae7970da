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

  func layers(_ rounding: Rounding) throws -> [Int: QuantizedLayer] {
    guard rounding == .compensated, var options = try sequentialOptions() else {
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

  /// Held-out samples that say enough when the others are fitted once.
  private static let enoughHeldOut = 8
  /// With fewer samples every layer is rounded by itself. Of 8 images that a network was trained on each can lose less with
  /// Step 7 when it is held out, and new images a fifth more.
  private static let fewestSamples = 16

  /// What Step 7 overfits, held-out samples show: fitted on the other samples, it must beat the parallel result
  /// there. nil when it does not, or when there are too few samples. Of fewer than some 32 samples every fourth is too few to
  /// tell: each fold is held out in turn (cross-validation).
  private func sequentialOptions() throws -> SequentialOptions? {
    let (fitting, heldOut) = try session.split()
    guard session.sampleCount >= PlanRounding.fewestSamples, fitting.count < session.batches.count else { return nil }
    let isEnough = heldOut.reduce(0) { $0 + session.batches[$1].sampleCount } >= PlanRounding.enoughHeldOut
    let folds = try (isEnough ? [Session.lastFold] : Array(0..<Session.folds)).map(fold)
    let parallel = try folds.flatMap { try losses(self.parallel(.gptq, bits, $0.fit), $0) }
    var best = (loss: PlanRounding.mean(parallel), options: SequentialOptions?.none)
    let samples = folds[0].fit.reduce(0) { $0 + $1.sampleCount }
    monitor.log(.info, "held-out loss, parallel: \(best.loss)")
    let ridge = OutputCorrection.relativeRidge(samples: samples)
    // Of less than some 250 samples more ridge is often better, of more hardly ever.
    let further = samples < 256 ? [(true, 4 * ridge)] : []
    for (matches, ridge) in [(false, ridge), (true, ridge)] + further {
      let options = SequentialOptions(ridge: ridge, matchesVariance: matches)
      let values = try folds.flatMap { try losses(sequential(options, $0.fit), $0) }
      let value = PlanRounding.mean(values)
      monitor.log(.info, "held-out loss, sequential\(matches ? " with variance matching" : ""), ridge \(ridge): \(value)")
      if value < best.loss, PlanRounding.isBelow(values, parallel) { best = (value, options) }
    }
    return best.options
  }

  /// Batches to fit to, and others to judge by, each followed by its shifted copies.
  private struct Fold {
    let fit: [FittingBatch]
    let held: [[Batch]]
    let references: [Tensor]
  }

  private func fold(_ number: Int) throws -> Fold {
    let (fitting, heldOut) = try session.split(fold: number)
    let held = try heldOut.map(session.withCopies)
    return Fold(
      fit: try session.fitting(.compensated, fitting), held: held,
      references: try session.engine.referenceOutputs(held.flatMap { $0 }))
  }

  /// Of every held-out sample the mean over it and its shifted copies.
  private func losses(_ layers: [Int: QuantizedLayer], _ fold: Fold) throws -> [Double] {
    var changed: [String: Tensor] = [:]
    for (index, layer) in layers { changed.merge(try session.engine.replacement(index, layer)) { $1 } }
    var values = try session.engine.sampleLosses(
      fold.held.flatMap { $0 }, references: fold.references, changed: changed, temperature: Engine.judgingTemperature)[...]
    return fold.held.flatMap { group in
      let count = group[0].sampleCount
      let part = Array(values.prefix(count * group.count))
      values = values.dropFirst(part.count)
      return (0..<count).map { sample in
        PlanRounding.mean(stride(from: sample, to: part.count, by: count).map { part[$0] })
      }
    }
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
