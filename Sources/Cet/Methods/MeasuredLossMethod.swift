import CetAutodiff
import CetMeasure
import CetQuantize
import CetTensor

/// The library's own method: the loss with one layer quantized alone, measured on samples that its rounding did not see;
/// beside it what second order predicts there.
enum MeasuredLossMethod: KnapsackMethod {
  /// Elements computed for the table and for its second-order side, beyond which fewer held-out samples are used.
  private static let tableWork = 4e10
  private static let secondOrderWork = 1e10

  static func measure(_ session: Session, _ draft: PlanDraft, _ monitor: Monitor) throws(CetError) -> LossTable {
    var (errors, heldOut) = try session.candidateErrors(draft, monitor)
    if draft.options.rounding != .nearest {
      let fewer = try candidatesOfFewerSteps(session, draft, errors.quantized, errors.codings, monitor)
      errors = CandidateErrors(
        bound: errors.bound, widths: errors.widths, quantized: errors.quantized.merging(fewer) { $1 })
    }
    return try measured(session, errors, heldOut: heldOut, monitor)
  }

  static func notes(_ table: LossTable, loss: LossKind) -> [String] {
    let moved = table.copies > 0 ? " and \(table.copies) moved copies of them" : ""
    let temperature = loss == .kl ? " at temperature \(Int(SampleLosses.judgingTemperature))" : ""
    var notes = ["losses of single tensors: \(loss.rawValue)\(temperature), mean over \(table.samples) held-out samples\(moved)"]
    if table.secondOrderSamples > 0 {
      notes.append("curvature_loss and trust_radius: mean over \(table.secondOrderSamples) held-out samples, at temperature 1")
    }
    return notes
  }

  /// Layers that lose less on held-out samples with fewer steps, even at the most bits, quantized so at each of their widths.
  private static func candidatesOfFewerSteps(
    _ session: Session, _ draft: PlanDraft, _ quantized: [Int: [QuantizedLayer]], _ codings: [[Int: Coding]], _ monitor: Monitor
  ) throws(CetError) -> [Int: [QuantizedLayer]] {
    let (options, widths) = (draft.options, draft.plannedWidths)
    let rounding = PlanRounding(
      session: session, bits: widths.compactMapValues(\.last), codings: codings, rules: draft.rules,
      effort: options.effort, maxMemory: options.maxMemory, monitor: monitor)
    let fold = try rounding.fold(SamplePolicy.folds - 1)
    let reduced = try session.acceptedSteps(rounding, [fold], fitted: [quantized.compactMapValues(\.last)])
    guard !reduced.isEmpty else { return [:] }
    return try PlanRounding.Work(rounding, reduced).versions(widths.filter { reduced[$0.key] != nil }, fold.fit)
  }

  private static func measured(
    _ session: Session, _ errors: CandidateErrors, heldOut: [Int], _ monitor: Monitor
  ) throws(CetError) -> LossTable {
    let bound = session.bound
    var table = LossTable(count: bound.layers.count)
    let references = try session.references()
    let versions = errors.versions
    let runs = versions.reduce(0) { $0 + $1.count }
    let all = heldOut.map { session.batches[$0] }
    let used = try bound.affordable(all, runs: runs, limit: tableWork, least: SamplePolicy.fewestForTable)
    // Bits are chosen by shifted copies, too: a few samples say little. What is reported is of the samples.
    let shown = Array(all.prefix(used))
    var both = shown
    for index in heldOut.prefix(used) { both += try session.withCopies(index).dropFirst() }
    let copies = Array(both[..<(try bound.affordable(both, runs: runs, limit: tableWork, least: SamplePolicy.fewestForTable))].dropFirst(used))
    let total = used + copies.count
    let losses = try SensitivityMeasurement(bound, shown, references: heldOut.prefix(used).map { references[$0] })
      .run(versions) { done, _ throws(CetError) in try monitor.report(.sensitivity, done, of: total) }
    let moved = try SensitivityMeasurement(bound, copies, references: bound.referenceOutputs(copies))
      .run(versions) { done, _ throws(CetError) in try monitor.report(.sensitivity, used + done, of: total) }
    for (index, values) in losses.enumerated() {
      for (version, loss) in values.enumerated() {
        let bits = errors.widths[index][version]
        var judged = loss
        judged.append(moved[index][version])
        guard loss.mean.isFinite, judged.judgedMean.isFinite else {
          throw CetError(.numeric, "the loss is not finite with '\(bound.layers[index].name)' at \(bits) bits")
        }
        table.measured[index][bits] = loss.mean
        table.judged[index][bits] = judged.judgedMean
      }
    }
    table.codings = errors.codings
    table.samples = shown.reduce(0) { $0 + $1.sampleCount }
    table.copies = copies.reduce(0) { $0 + $1.sampleCount }
    let checked = Array(shown.prefix(try bound.affordable(shown, runs: runs, limit: secondOrderWork, least: SamplePolicy.fewestForSecondOrder)))
    let predicted = try secondOrder(bound, versions, batches: checked, monitor)
    table.secondOrderSamples = checked.reduce(0) { $0 + $1.sampleCount }
    for (index, values) in predicted.enumerated() {
      var trust = TrustRadius()
      for (version, value) in values.enumerated() {
        table.curvature[index][errors.widths[index][version]] = value
        trust.add(
          norm: try errors.error(index, version).reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot(),
          predicted: value, measured: losses[index][version].mean(first: table.secondOrderSamples))
      }
      table.trustRadius[index] = trust.radius
    }
    return table
  }

  /// gᵀδ + ½ δᵀHδ of every candidate, mean over the batches' samples; empty where there is no derivative.
  private static func secondOrder(
    _ bound: BoundModel, _ versions: [[QuantizedLayer]], batches: [Batch], _ monitor: Monitor
  ) throws(CetError) -> [[Double]] {
    let places = versions.enumerated().flatMap { index, list in list.indices.map { (index, $0) } }
    var sums = versions.map { $0.map { _ in 0.0 } }
    let known = try SecondOrderMeasurement(bound, batches).run(
      versions, progress: { done, total throws(CetError) in try monitor.report(.curvature, done, of: total) }
    ) { _, gradient, u in
      for (entry, place) in places.enumerated() {
        sums[place.0][place.1] += gradient[entry] + 0.5 * u[entry].reduce(0.0) { $0 + Double($1) * Double($1) }
      }
    }
    guard known else { return [] }
    let samples = Double(max(1, batches.reduce(0) { $0 + $1.sampleCount }))
    return sums.map { $0.map { $0 / samples } }
  }
}
