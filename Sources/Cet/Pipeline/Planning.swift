import CetAllocate
import CetAutodiff
import CetLayers
import CetQuantize
import CetTensor

/// A bit width for every weight tensor that meets the target with the least loss.
/// - Parameter data: fitted to the model.
public func makePlan(
  _ model: LoadedModel, _ data: Calibration, _ options: PlanOptions, _ monitor: Monitor
) throws -> CompressionPlan {
  try options.validate()
  return try monitor.attended { try SerialKernels.run { try measuredPlan(model, data, options, monitor) } }
}

private func measuredPlan(
  _ model: LoadedModel, _ data: Calibration, _ options: PlanOptions, _ monitor: Monitor
) throws -> CompressionPlan {
  let samples = try data.prefix(options.samples)
  var session = try Session(
    model, samples, loss: options.loss, output: options.output, batchSize: options.batchSize, shifts: options.shifts,
    threads: options.threads, maxMemory: options.maxMemory, monitor: monitor)
  let graph = model.file.model.graph
  var notes = session.notes
    + SampleNotes.fitting(graph, asked: options.samples, given: data.sampleCount, output: options.output)
    + options.encoding.notes(model.found.layers)
  for note in notes { monitor.log(.warning, note) }
  let draft = try PlanDraft(model, options, reached: session.engine.reached(session.batches))
  // An unreachable target is refused before anything is measured.
  try draft.checkTarget()
  try session.reserve(.planning, draft.widths, rounding: options.rounding, maxMemory: options.maxMemory, monitor)
  var table = try session.lossTable(draft, options, monitor)
  let literal: [Int: Int]? =
    switch options.method {
    case .paper: try session.paperBits(draft, options, monitor)
    case .clado: try session.pairwiseBits(draft, options, into: &table, monitor)
    default: nil
    }
  try monitor.report(.allocate, 0, of: 1)
  let calibration = Fingerprint.text(of: samples)
  var plan: CompressionPlan
  if case .maximumLoss(let limit) = options.target {
    plan = try LossLimit(session: session, draft: draft, table: table, calibration: calibration, monitor: monitor).plan(limit)
  } else {
    plan = try draft.plan(table, loss: session.loss, samples: session.sampleCount, given: literal)
    try session.judge(&plan, calibration: calibration, monitor)
  }
  if session.sampleCount > SampleNotes.few, plan.judgement?.heldOut == nil {
    let note =
      "\(session.sampleCount) calibration samples in \(session.batches.count) batches are too few to hold some out: losses at low bits may be underestimated"
    notes.append(note)
    monitor.log(.warning, note)
  }
  plan.notes = notes + plan.notes
  plan.notes += table.notes(method: options.method, loss: session.loss)
  try monitor.report(.allocate, 1, of: 1)
  return plan
}

extension Session {
  /// Rounds a plan from a part of the samples and measures it on the rest: the plan's prediction.
  /// - Parameter recipe: how it is rounded; nil: found out.
  func judge(
    _ plan: inout CompressionPlan, calibration: String, recipe: RoundingRecipe? = nil, _ monitor: Monitor
  ) throws {
    let rounding = PlanRounding(
      session: self, bits: plan.bits(of: engine.layers), form: plan.options.gridForm, maxMemory: plan.options.maxMemory,
      monitor: monitor)
    let verdict = try recipe.map { try rounding.judge($0) } ?? rounding.judge(plan.options.rounding)
    plan.judgement = PlanJudgement(verdict, calibration: calibration, rounding: plan.options.rounding)
    plan.prediction = verdict.expected
    plan.anchor = PredictionAnchor(tableLoss: plan.tableLoss, expected: verdict.expected)
  }
}

extension CompressionPlan {
  /// Bits of the planned layers, by index.
  func bits(of layers: [LinearLayer]) -> [Int: Int] {
    let planned = Dictionary(tensors.filter(\.isPlanned).map { ($0.name, $0.bits) }, uniquingKeysWith: { first, _ in first })
    var bits: [Int: Int] = [:]
    for (index, layer) in layers.enumerated() { bits[index] = planned[layer.name] }
    return bits
  }
}

extension LossTable {
  /// What the table's figures are of.
  func notes(method: Method, loss: LossKind) -> [String] {
    guard method == .cet else { return [] }
    let moved = copies > 0 ? " and \(copies) moved copies of them" : ""
    let temperature = loss == .kl ? " at temperature \(Int(Engine.judgingTemperature))" : ""
    var notes = ["losses of single tensors: \(loss.rawValue)\(temperature), mean over \(samples) held-out samples\(moved)"]
    if secondOrderSamples > 0 {
      notes.append("curvature_loss and trust_radius: mean over \(secondOrderSamples) held-out samples, at temperature 1")
    }
    return notes
  }
}

/// The plan for another target from the loss table of a plan: no data, no forward passes.
public func makePlan(
  _ model: LoadedModel, sensitivityOf plan: CompressionPlan, _ options: PlanOptions
) throws -> CompressionPlan {
  try options.validate()
  let plan = try model.fitted(plan)
  guard plan.options.method != .paper, plan.options.method != .clado else {
    throw CetError(
      .invalidArgument,
      "method '\(plan.options.method.rawValue)' keeps no table that another plan could be made from: it needs calibration data")
  }
  var options = options
  options.method = plan.options.method
  options.granularity = plan.options.granularity
  let measured = Dictionary(plan.tensors.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
  let reached = plan.tensors.indices.filter { index in
    let tensor = plan.tensors[index]
    // A tensor that was kept because nothing depends on it has no losses, whatever was set by hand since.
    return tensor.reason != PlanDraft.unreachedReason
      && (tensor.reason != CompressionPlan.byHand || !tensor.sensitivity.isEmpty || plan.options.method == .uniform)
  }
  let draft = try PlanDraft(model, options, reached: Set(reached))
  try draft.checkTarget()
  var table = LossTable(count: model.found.layers.count)
  for (index, layer) in model.found.layers.enumerated() {
    guard let known = measured[layer.name] else { continue }
    table.measured[index] = known.measuredLoss
    table.curvature[index] = known.curvatureLoss
    table.judged[index] = known.sensitivity
    table.trustRadius[index] = known.trustRadius
    for bits in draft.widths[index] where options.method != .uniform && known.sensitivity[bits] == nil {
      throw CetError(
        .invalidArgument, "the plan has no loss of '\(layer.name)' at \(bits) bits: it was made without that choice")
    }
  }
  var limit: Double?
  if case .maximumLoss(let loss) = options.target {
    guard let anchor = plan.anchor else {
      throw CetError(
        .invalidArgument, "target max_loss: the plan has no held-out loss that others could be predicted from: it needs calibration data")
    }
    limit = anchor.tableLoss(whosePredictionIsBelow: loss)
  }
  var result = try draft.plan(table, loss: plan.loss, samples: plan.samples, tableLimit: limit)
  result.predict(from: plan.anchor)
  if case .maximumLoss(let loss) = options.target, let upper = result.prediction?.bound, upper > loss * (1 + 1e-9) {
    throw CetError(.infeasibleBudget, "max_loss \(loss) cannot be reached: the most bits allowed lose \(upper) as predicted")
  }
  for tensor in plan.tensors where tensor.reason == CompressionPlan.byHand {
    result.notes.append("bits of '\(tensor.name)', set by hand in the plan before, were chosen anew")
  }
  return result
}

extension CompressionPlan {
  /// Predicts the loss by that of another plan of the same table.
  mutating func predict(from anchor: PredictionAnchor?) {
    self.anchor = anchor
    prediction = tableLoss.flatMap { anchor?.prediction(tableLoss: $0) }
  }
}

extension PlanJudgement {
  init(_ verdict: PlanRounding.Verdict, calibration: String, rounding: Rounding) {
    self.init(
      recipe: verdict.recipe, heldOut: verdict.heldOut, expected: verdict.expected, calibration: calibration,
      rounding: rounding)
  }
}

extension Session {
  /// Elements computed for the table and for its second-order side, beyond which fewer held-out samples are used.
  private static let tableWork = 4e10
  private static let secondOrderWork = 1e10

  /// The losses of each layer alone at each of its widths, by the method that was asked for.
  func lossTable(_ draft: PlanDraft, _ options: PlanOptions, _ monitor: Monitor) throws -> LossTable {
    var table = LossTable(count: engine.layers.count)
    // The literal method and the uniform one know no losses of tensors, the pairwise one makes its own.
    guard options.method != .uniform, options.method != .paper, options.method != .clado else { return table }
    let (fitting, heldOut) = try split()
    let widths = Dictionary(
      draft.widths.enumerated().filter { !$1.isEmpty }.map { ($0, $1) }, uniquingKeysWith: { first, _ in first })
    var quantized = try candidates(
      widths, fitting: self.fitting(options.rounding, fitting), rounding: options.rounding, form: options.gridForm,
      maxMemory: options.maxMemory, monitor: monitor)
    if options.method == .cet, options.rounding != .nearest {
      quantized.merge(try candidatesOfFewerSteps(widths, quantized, options, monitor)) { $1 }
    }
    let errors = CandidateErrors(engine: engine, widths: draft.widths, quantized: quantized)
    switch options.method {
    case .hawqV2: table.curvature = try hawqTable(errors, options, monitor)
    case .mckp: table.curvature = try fisherTable(errors, options, monitor)
    default: try measure(errors, heldOut: heldOut, into: &table, monitor)
    }
    return table
  }

  /// Layers that lose less on held-out samples with fewer steps, even at the most bits, quantized so at each of their widths.
  private func candidatesOfFewerSteps(
    _ widths: [Int: [Int]], _ quantized: [Int: [QuantizedLayer]], _ options: PlanOptions, _ monitor: Monitor
  ) throws -> [Int: [QuantizedLayer]] {
    let rounding = PlanRounding(
      session: self, bits: widths.compactMapValues(\.last), form: options.gridForm, maxMemory: options.maxMemory, monitor: monitor)
    let fold = try rounding.fold(Session.lastFold)
    let reduced = try acceptedSteps(rounding, [fold], fitted: [quantized.compactMapValues(\.last)])
    guard !reduced.isEmpty else { return [:] }
    return try PlanRounding.Work(rounding, reduced).versions(widths.filter { reduced[$0.key] != nil }, fold.fit)
  }

  /// Step 5: measured on batches that the rounding did not see; beside it what second order predicts there.
  private func measure(_ errors: CandidateErrors, heldOut: [Int], into table: inout LossTable, _ monitor: Monitor) throws {
    let references = try references()
    let versions = engine.layers.indices.map { errors.quantized[$0] ?? [] }
    let runs = versions.reduce(0) { $0 + $1.count }
    let all = heldOut.map { batches[$0] }
    let used = try engine.affordable(all, runs: runs, limit: Session.tableWork, least: 32)
    // Bits are chosen by shifted copies, too: a few samples say little. What is reported is of the samples.
    let shown = Array(all.prefix(used))
    let both = shown + (try heldOut.prefix(used).flatMap { try withCopies($0).dropFirst() })
    let copies = Array(both[..<(try engine.affordable(both, runs: runs, limit: Session.tableWork, least: 32))].dropFirst(used))
    let total = used + copies.count
    let losses = try engine.measureAlone(
      versions, batches: shown, references: heldOut.prefix(used).map { references[$0] }
    ) { done, _ in try monitor.report(.sensitivity, done, of: total) }
    let moved = try engine.measureAlone(versions, batches: copies, references: engine.referenceOutputs(copies)) { done, _ in
      try monitor.report(.sensitivity, used + done, of: total)
    }
    for (index, values) in losses.enumerated() {
      for (version, loss) in values.enumerated() {
        let bits = errors.widths[index][version]
        var judged = loss
        judged.append(moved[index][version])
        guard loss.mean.isFinite, judged.judgedMean.isFinite else {
          throw CetError(.numeric, "the loss is not finite with '\(engine.layers[index].name)' at \(bits) bits")
        }
        table.measured[index][bits] = loss.mean
        table.judged[index][bits] = judged.judgedMean
      }
    }
    table.samples = shown.reduce(0) { $0 + $1.sampleCount }
    table.copies = copies.reduce(0) { $0 + $1.sampleCount }
    let checked = Array(shown.prefix(try engine.affordable(shown, runs: runs, limit: Session.secondOrderWork, least: 8)))
    let predicted = try secondOrder(errors, versions, batches: checked, monitor)
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
  }

  /// gᵀδ + ½ δᵀHδ of every candidate, mean over the batches' samples; empty where there is no derivative.
  private func secondOrder(
    _ errors: CandidateErrors, _ versions: [[QuantizedLayer]], batches: [Batch], _ monitor: Monitor
  ) throws -> [[Double]] {
    let places = versions.enumerated().flatMap { index, list in list.indices.map { (index, $0) } }
    var sums = versions.map { $0.map { _ in 0.0 } }
    let known = try engine.directions(
      versions, batches: batches, progress: { try monitor.report(.curvature, $0, of: $1) }
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
