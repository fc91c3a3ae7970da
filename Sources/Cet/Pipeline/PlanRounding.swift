import CetAutodiff
import CetMeasure
import CetQuantize
import CetTensor

/// Rounds all tensors of a plan, and finds out on held-out samples how to.
final class PlanRounding {
  let session: Session
  /// By layer index.
  let bits: [Int: Int]
  /// What codes stand for, by layer index and bits.
  let codings: [[Int: Coding]]
  let rules: CodeRules
  let effort: RoundingEffort.Level
  let maxMemory: Int?
  let monitor: Monitor

  /// Layers without input statistics, which are the same whatever the others are fitted to.
  private let tables = Once<[Int: QuantizedLayer]>()

  init(
    session: Session, bits: [Int: Int], codings: [[Int: Coding]], rules: CodeRules, effort: RoundingEffort.Level, maxMemory: Int?,
    monitor: Monitor
  ) {
    self.session = session
    self.bits = bits
    self.codings = codings
    self.rules = rules
    self.effort = effort
    self.maxMemory = maxMemory
    self.monitor = monitor
  }

  /// Of a plan, with the session's samples.
  convenience init(_ session: Session, _ plan: CompressionPlan, maxMemory: Int?, _ monitor: Monitor) throws(CetError) {
    let session = try session.rounding(session.model.rounded(plan))
    self.init(
      session: session, bits: plan.bits(of: session.bound.layers), codings: plan.codings(of: session.model),
      rules: plan.options.codeRules(of: session.model), effort: plan.options.effort, maxMemory: maxMemory, monitor: monitor)
  }

  /// The codes that are written, fitted to all samples.
  func layers(_ recipe: RoundingRecipe) throws(CetError) -> (layers: [Int: QuantizedLayer], session: Session) {
    let work = try Work(self, recipe.reduced)
    return (try work.layers(recipe.pass, recipe.pass == .nearest ? [] : session.fitting(.compensated), purpose: .result), work.session)
  }

  /// Codes as they are compared, fitted to the samples that are not held out, and what every sample loses with them: of very
  /// codes that are handed over a held-out loss is known, and nothing is rounded twice. nil where the samples are too few for that.
  func heldInLayers(
    _ recipe: RoundingRecipe
  ) throws(CetError) -> (layers: [Int: QuantizedLayer], session: Session, verdict: Verdict, loss: Double)? {
    let (fitting, heldOut) = try session.split()
    let samples = heldOut.reduce(0) { $0 + session.batches[$1].sampleCount }
    guard fitting.count < session.batches.count, SamplePolicy.heldOutFolds(heldOut: samples).count == 1 else { return nil }
    let work = try Work(self, recipe.reduced)
    let batches = recipe.pass == .nearest ? [] : try session.fitting(.compensated, fitting)
    let layers = try work.layers(recipe.pass, batches, readings: session.heldIn)
    try monitor.report(.measure, 0, of: 1)
    let losses = try work.session.change(layers)
    try monitor.report(.measure, 1, of: 1)
    var (unseen, seen) = (SampleLosses(), SampleLosses())
    for (index, loss) in losses.enumerated() {
      if heldOut.contains(index) { unseen.append(loss) } else { seen.append(loss) }
    }
    let sum = losses.reduce(0) { $0 + $1.plain.reduce(0, +) }
    return (layers, work.session, Verdict(recipe, layers, unseen: unseen, seen: seen), sum / Double(max(1, session.sampleCount)))
  }

  // MARK: Judging

  /// What a recipe loses.
  struct Verdict {
    let recipe: RoundingRecipe
    /// Layers whose bias is corrected, or added.
    let biased: Set<Int>
    /// nil: too few samples to hold any out.
    let heldOut: HeldOutLoss?
    let expected: LossEstimate?

    /// - Parameter seen: samples that the codes were fitted to.
    init(_ recipe: RoundingRecipe, _ layers: [Int: QuantizedLayer], unseen: SampleLosses, seen: SampleLosses) {
      self.recipe = recipe
      biased = Set(layers.filter { $1.bias != nil }.keys)
      let alone = LossEstimate(loss: Statistic.mean(unseen.plain), interval: Statistic.interval(unseen.plain))
      heldOut = unseen.plain.isEmpty ? nil : HeldOutLoss(estimate: alone, samples: unseen.plain.count)
      expected = unseen.plain.isEmpty ? nil : LossEstimate(unseen: unseen, seen: seen)
    }
  }

  /// The recipe that loses least on samples that it is not fitted to, and what it loses there. Every step must earn its
  /// place: a layer takes fewer of them, or all layers the nearest codes, where held-out samples lose less so, and the
  /// sequential pass must beat what goes without it.
  func judge(_ rounding: Rounding) throws(CetError) -> Verdict {
    if rounding == .nearest {
      // The codes depend on no sample, so all are held out.
      let recipe = RoundingRecipe(pass: .nearest)
      let layers = try layers(recipe).layers
      let losses = try change(session, layers, session.batches, session.references())
      return Verdict(recipe, layers, unseen: losses, seen: SampleLosses())
    }
    let folds = try self.folds()
    let plain = try Work(self, [Int: LayerSteps]())
    let fitted = try folds.map { fold throws(CetError) in try plain.parallel(.gptq, fold.fit) }
    let reduced = try session.acceptedSteps(self, folds, fitted: fitted)
    let work = try Work(self, reduced)
    let alone = try reduced.isEmpty ? fitted : folds.map { fold throws(CetError) in try work.parallel(.gptq, fold.fit) }
    var best = try trial(.parallel, work, folds) { alone[$0] }
    func consider(_ pass: RoundingRecipe.Pass, than base: Trial, _ make: (Int) throws(CetError) -> [Int: QuantizedLayer]) throws(CetError) {
      let found = try trial(pass, work, folds, make)
      if found.mean < best.mean, Statistic.isBelow(found.losses.judged, base.losses.judged) { best = found }
    }
    try consider(.nearest, than: best) { _ throws(CetError) in try plain.parallel(.nearest, []) }
    if rounding == .compensated, SamplePolicy.allowsSequentialPass(samples: session.sampleCount), folds[0].isHeldOut {
      let base = best
      let samples = folds[0].fit.reduce(0) { $0 + $1.sampleCount }
      let readings = session.readings(folds: folds.count)
      for pass in SamplePolicy.sequentialPasses(samples: samples) {
        let options = SequentialOptions(ridge: pass.ridge, matchesVariance: pass.matchesVariance)
        try consider(.sequential(options), than: base) { number throws(CetError) in
          try work.sequential(options, folds[number].fit, alone: alone[number], readings: readings[number])
        }
      }
    }
    let recipe = RoundingRecipe(pass: best.pass, reduced: best.pass == .nearest ? [:] : work.named(reduced))
    return try verdict(recipe, work, folds, best)
  }

  /// What a known recipe loses.
  func judge(_ recipe: RoundingRecipe) throws(CetError) -> Verdict {
    let folds = try self.folds()
    let work = try Work(self, recipe.reduced)
    let found = try trial(recipe.pass, work, folds) { number throws(CetError) in try work.layers(recipe.pass, folds[number].fit) }
    return try verdict(recipe, work, folds, found)
  }

  /// A pass over all folds.
  private struct Trial {
    let pass: RoundingRecipe.Pass
    /// Of the last fold.
    var layers: [Int: QuantizedLayer] = [:]
    /// On held-out samples.
    var losses = SampleLosses()
    var mean: Double { Statistic.mean(losses.judged) }
  }

  private func trial(
    _ pass: RoundingRecipe.Pass, _ work: Work, _ folds: [Fold], _ make: (_ fold: Int) throws(CetError) -> [Int: QuantizedLayer]
  ) throws(CetError) -> Trial {
    var trial = Trial(pass: pass)
    for (number, fold) in folds.enumerated() {
      trial.layers = try make(number)
      let found = try losses(work.session, trial.layers, fold)
      trial.losses.append(found)
    }
    monitor.log(.info, "held-out loss, \(pass): \(trial.mean)")
    return trial
  }

  private func verdict(_ recipe: RoundingRecipe, _ work: Work, _ folds: [Fold], _ trial: Trial) throws(CetError) -> Verdict {
    guard folds[0].isHeldOut else { return Verdict(recipe, trial.layers, unseen: SampleLosses(), seen: SampleLosses()) }
    // Where all folds were held out in turn, every sample is an unseen one.
    guard folds.count == 1 else { return Verdict(recipe, trial.layers, unseen: trial.losses, seen: SampleLosses()) }
    let seen = folds[0].seen
    let references = try session.bound.referenceOutputs(seen)
    return Verdict(recipe, trial.layers, unseen: trial.losses, seen: try change(work.session, trial.layers, seen, references))
  }

  /// Batches to fit to, and others to judge by, each followed by its shifted copies.
  struct Fold {
    let fit: [FittingBatch]
    /// Batches of `fit` that are not held out as well, without their copies.
    let seen: [Batch]
    let held: [[Batch]]
    let references: [Tensor]
    /// Whether `held` shares no sample with `fit`.
    let isHeldOut: Bool
  }

  private func folds() throws(CetError) -> [Fold] {
    let (_, heldOut) = try session.split()
    let samples = heldOut.reduce(0) { $0 + session.batches[$1].sampleCount }
    return try SamplePolicy.heldOutFolds(heldOut: samples).map(fold)
  }

  func fold(_ number: Int) throws(CetError) -> Fold {
    let (fitting, heldOut) = try session.split(fold: number)
    let held = try heldOut.map(session.withCopies)
    return Fold(
      fit: try session.fitting(.compensated, fitting),
      seen: fitting.filter { !heldOut.contains($0) }.map { session.batches[$0] }, held: held,
      references: try session.bound.referenceOutputs(held.flatMap { $0 }),
      isHeldOut: fitting.count < session.batches.count)
  }

  /// Loss change of every held-out sample: that of the sample itself, and the mean over it and its shifted copies at the
  /// judging temperature.
  private func losses(_ session: Session, _ layers: [Int: QuantizedLayer], _ fold: Fold) throws(CetError) -> SampleLosses {
    let values = try change(session, layers, fold.held.flatMap { $0 }, fold.references)
    var result = SampleLosses()
    var first = 0
    for group in fold.held {
      let (count, total) = (group[0].sampleCount, group[0].sampleCount * group.count)
      result.plain += values.plain[first..<(first + count)]
      for sample in first..<(first + count) {
        result.judged.append(Statistic.mean(stride(from: sample, to: first + total, by: count).map { values.judged[$0] }))
      }
      first += total
    }
    return result
  }

  private func change(
    _ session: Session, _ layers: [Int: QuantizedLayer], _ batches: [Batch], _ references: [Tensor]
  ) throws(CetError) -> SampleLosses {
    let before = try session.bound.sampleLosses(batches, references: references, changed: [:])
    return try session.bound.sampleLosses(batches, references: references, changed: session.bound.replacements(layers)) - before
  }

  // MARK: Rounding

  /// The passes, with layers that take fewer steps. A class, because copies of so large a value are long code.
  final class Work {
    let session: Session
    private let rounding: PlanRounding
    private let nearest: Set<Int>

    init(_ rounding: PlanRounding, _ reduced: [Int: LayerSteps]) throws(CetError) {
      self.rounding = rounding
      session = try rounding.session.leavingBiases(of: Set(reduced.filter { $1 == .withoutBias }.keys))
      nearest = Set(reduced.filter { $1 == .nearest }.keys)
    }

    convenience init(_ rounding: PlanRounding, _ reduced: [String: LayerSteps]) throws(CetError) {
      var byIndex: [Int: LayerSteps] = [:]
      for (index, layer) in rounding.session.bound.layers.enumerated() { byIndex[index] = reduced[layer.name] }
      try self.init(rounding, byIndex)
    }

    func named(_ reduced: [Int: LayerSteps]) -> [String: LayerSteps] {
      Dictionary(reduced.map { (session.bound.layers[$0].name, $1) }, uniquingKeysWith: { first, _ in first })
    }

    func layers(
      _ pass: RoundingRecipe.Pass, _ batches: [FittingBatch], purpose: RoundingEffort.Purpose = .comparison,
      readings: UnquantizedReadings = UnquantizedReadings()
    ) throws(CetError) -> [Int: QuantizedLayer] {
      switch pass {
      case .nearest: try parallel(.nearest, [])
      case .parallel: try parallel(.gptq, batches, purpose: purpose)
      case .sequential(let options): try sequential(options, batches, purpose: purpose, readings: readings)
      }
    }

    /// Every layer by itself (Steps 0 to 2 and 4, or nearest).
    func parallel(
      _ rounding: Rounding, _ batches: [FittingBatch], _ bits: [Int: Int]? = nil, purpose: RoundingEffort.Purpose = .comparison
    ) throws(CetError) -> [Int: QuantizedLayer] {
      try versions((bits ?? self.rounding.bits).mapValues { [$0] }, batches, rounding, purpose).compactMapValues(\.first)
    }

    /// Every layer by itself at each of its widths.
    func versions(
      _ widths: [Int: [Int]], _ batches: [FittingBatch], _ rounding: Rounding = .gptq,
      _ purpose: RoundingEffort.Purpose = .comparison
    ) throws(CetError) -> [Int: [QuantizedLayer]] {
      try session.candidates(
        widths, codings: self.rounding.codings, fitting: batches, rounding: rounding, nearest: nearest, rules: self.rounding.rules,
        maxMemory: self.rounding.maxMemory, effort: RoundingEffort(purpose, self.rounding.effort), monitor: self.rounding.monitor)
    }

    /// Layer after layer (Step 7); layers without input statistics first, so that the pass absorbs their error, and
    /// recurrent weights and those of loops, whose inputs they make themselves.
    /// - Parameters:
    ///   - alone: all layers by themselves, fitted to the same batches; nil: not known.
    ///   - readings: what is known of the unquantized network on these batches.
    func sequential(
      _ options: SequentialOptions, _ batches: [FittingBatch], purpose: RoundingEffort.Purpose = .comparison,
      alone: [Int: QuantizedLayer]? = nil, readings: UnquantizedReadings = UnquantizedReadings()
    ) throws(CetError) -> [Int: QuantizedLayer] {
      let bits = rounding.bits
      let observed = Set(try session.bound.observable(Array(bits.keys), batches)).subtracting(nearest)
      var fixed = try rounding.tables.value { () throws(CetError) in
        try parallel(.nearest, [], bits.filter { !observed.contains($0.key) })
      }
      let repeated = bits.filter { observed.contains($0.key) && !session.bound.layers[$0.key].isSequential }
      if !repeated.isEmpty {
        let found = alone?.filter { repeated[$0.key] != nil }
        fixed.merge(try found.or(parallel(.gptq, batches, repeated, purpose: purpose))) { $1 }
      }
      let formats = Dictionary(
        uniqueKeysWithValues: bits.map { ($0, CodeFormat(bits: $1, coding: rounding.codings[$0][$1] ?? .affine)) })
      let pass = SequentialPass(session.bound, options, rules: rounding.rules, effort: RoundingEffort(purpose, rounding.effort), readings: readings)
      return try pass.run(formats, fixed: fixed, batches) { done, total throws(CetError) in
        try rounding.monitor.report(.rounding, done, of: total)
      }
    }
  }
}
