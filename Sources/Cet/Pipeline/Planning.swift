import CetAutodiff
import CetEncode
import CetLayers
import CetMeasure
import CetQuantize
import CetTensor

/// A bit width for every weight tensor that meets the target with the least loss.
/// - Parameter data: fitted to the model.
public func makePlan(
  _ model: LoadedModel, _ data: Calibration, _ options: PlanOptions, _ monitor: Monitor
) throws(CetError) -> CompressionPlan {
  let options = options.settled(for: model)
  try options.validate()
  return try monitor.attended { () throws(CetError) in
    try SerialKernels.run { () throws(CetError) in try measuredPlan(model, data, options, monitor).plan }
  }
}

/// A plan with its table of losses, and the session that measured them.
/// - Parameters:
///   - usualBits: bits a weight that take the place of the options' target, or the fewest that can be reached.
///   - known: what `whenMeasured` got in a former call with the same model, data and options: nothing of it is measured again.
///   - whenMeasured: gets the losses of single tensors, in a plan of the fewest bits that is not judged.
func measuredPlan(
  _ model: LoadedModel, _ data: Calibration, _ options: PlanOptions, usualBits: Double? = nil, known: CompressionPlan? = nil,
  whenMeasured: ((CompressionPlan) throws(CetError) -> Void)? = nil, _ monitor: Monitor
) throws(CetError) -> (plan: CompressionPlan, session: Session) {
  try model.findDigest(monitor.check)
  let samples = try data.prefix(options.samples)
  var session = try Session(
    model, samples, loss: options.loss, output: options.output, batchSize: options.batchSize, shifts: options.shifts,
    threads: options.threads, maxMemory: options.maxMemory, monitor: monitor)
  let graph = model.file.model.graph
  var notes = session.notes
    + SampleNotes.fitting(graph, asked: options.samples, given: data.sampleCount, output: options.output)
    + (options.activations == nil ? options.encoding.notes(model.found.layers) : [])
  for note in notes { monitor.log(.warning, note) }
  var draft = try PlanDraft(model, options, reached: session.bound.reached(session.batches))
  if let usualBits { draft = draft.aiming(atBits: usualBits) }
  // An unreachable target is refused before anything is measured.
  try draft.checkTarget()
  if let activations = draft.activations { session = try session.rounding(RoundedActivations(activations.all, grids: [:])) }
  try session.reserve(.planning, draft.widths, rounding: options.rounding, maxMemory: options.maxMemory, monitor)
  let method = options.method.rules
  var table: LossTable
  if let known {
    table = try LossTable(known, draft)
  } else {
    table = try method.measure(session, draft, monitor)
    if let asked = options.activations { table.activations = try session.activationTable(asked, monitor) }
  }
  draft = draft.knowing(table.codings)
  let tableNotes = known?.notes ?? method.notes(table, loss: session.loss)
  if known == nil, method.table != .none, let whenMeasured {
    var found = try draft.aiming(atBits: 0).plan(table, loss: session.loss, samples: session.sampleCount)
    (found.options, found.notes) = (options, tableNotes)
    try whenMeasured(found)
  }
  try monitor.report(.allocate, 0, of: 1)
  let calibration = Fingerprint.text(of: samples)
  var plan: CompressionPlan
  if case .maximumLoss(let limit) = options.target {
    plan = try LossLimit(session: session, draft: draft, table: table, calibration: calibration, monitor: monitor).plan(limit)
  } else {
    plan = try draft.plan(table, loss: session.loss, samples: session.sampleCount)
    try session.judge(&plan, calibration: calibration, monitor)
  }
  if !SamplePolicy.sayLittle(session.sampleCount), plan.judgement?.heldOut == nil {
    let note =
      "\(session.sampleCount) calibration samples in \(session.batches.count) batches are too few to hold some out: losses at low bits may be underestimated"
    notes.append(note)
    monitor.log(.warning, note)
  }
  plan.notes = notes + plan.notes
  plan.notes += tableNotes
  try monitor.report(.allocate, 1, of: 1)
  return (plan, session)
}

extension Session {
  /// Rounds a plan from a part of the samples and measures it on the rest: the plan's prediction.
  /// - Parameter recipe: how it is rounded; nil: found out.
  func judge(
    _ plan: inout CompressionPlan, calibration: String, recipe: RoundingRecipe? = nil, _ monitor: Monitor
  ) throws(CetError) {
    let rounding = try PlanRounding(self, plan, maxMemory: plan.options.maxMemory, monitor)
    let verdict = if let recipe { try rounding.judge(recipe) } else { try rounding.judge(plan.options.rounding) }
    plan.judgement = PlanJudgement(verdict, calibration: calibration, rounding: plan.options.rounding)
    plan.prediction = verdict.expected
    plan.anchor = PredictionAnchor(tableLoss: plan.tableLoss, expected: verdict.expected)
    plan.fileBytes = try plan.fileBytes(of: model, addsBias: verdict.biased.contains)
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

extension CompressionPlan {
  /// What the codes of each layer stand for at its bits.
  func codings(of model: LoadedModel) -> [[Int: Coding]] {
    let known = Dictionary(tensors.filter(\.isPlanned).map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    return model.found.layers.map { layer in
      known[layer.name].map { [$0.bits: Coding($0.coding, trellis: model.trellisCode)] } ?? [:]
    }
  }
}

extension CompressionPlan {
  /// The written file, to the byte, once it is known which layers get a bias.
  func fileBytes(of model: LoadedModel, addsBias: (Int) -> Bool) throws(CetError) -> Int {
    let (bits, codings) = (bits(of: model.found.layers), codings(of: model))
    let formats = model.found.layers.indices.map { index in
      bits[index].map { CodeFormat(bits: $0, coding: codings[index][$0] ?? .affine) }
    }
    return try FileSizes(
      model.found, of: model.file, encoding: options.encoding, granularity: options.granularity, runtime: options.runtime,
      activations: model.written(self), place: options.place
    ).bytes(formats, addsBias: addsBias, metadata: FileMetadata.entries(model, plan: self))
  }
}

extension LoadedModel {
  /// The trellis code of tensors that have one.
  var trellisCode: TrellisCode { .suited(weights: found.layers.reduce(0) { $0 &+ $1.count }) }
}

/// The plan for another target from the loss table of a plan: no data, no forward passes.
public func makePlan(
  _ model: LoadedModel, sensitivityOf plan: CompressionPlan, _ options: PlanOptions
) throws(CetError) -> CompressionPlan {
  try options.validate()
  let plan = try model.fitted(plan)
  let method = plan.options.method.rules
  guard method.table != .oneTarget else {
    throw CetError(
      .invalidArgument,
      "method '\(plan.options.method.rawValue)' keeps no table that another plan could be made from: it needs calibration data")
  }
  var options = options
  options.method = plan.options.method
  options.coding = plan.options.coding
  options.bits = options.widths
  options.granularity = plan.options.granularity
  let reached = plan.tensors.indices.filter { index in
    let tensor = plan.tensors[index]
    // A tensor that was kept because nothing depends on it has no losses, whatever was set by hand since.
    return tensor.reason != PlanDraft.unreachedReason
      && (tensor.reason != CompressionPlan.byHand || !tensor.sensitivity.isEmpty || method.table == .none)
  }
  var draft = try PlanDraft(model, options, reached: Set(reached))
  let table = try LossTable(plan, draft)
  draft = draft.knowing(table.codings)
  try draft.checkTarget()
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
  result.adoptJudgement(of: plan)
  // What the table's figures are of, and what was unusual about their samples, holds for every plan that is made from it.
  let chosenAnew = "set by hand in the plan before, were chosen anew"
  let former = plan.notes.filter { !$0.hasSuffix(chosenAnew) }
  result.notes = former + result.notes.filter { !former.contains($0) }
  for tensor in plan.tensors where tensor.reason == CompressionPlan.byHand {
    result.notes.append("bits of '\(tensor.name)', \(chosenAnew)")
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

extension CompressionPlan {
  /// The judgement of a plan that gives every tensor the same codes.
  fileprivate mutating func adoptJudgement(of plan: CompressionPlan) {
    guard let judged = plan.judgement, options.encoding == plan.options.encoding, options.effort == plan.options.effort,
      options.runtime == plan.options.runtime,
      zip(tensors, plan.tensors).allSatisfy({ $0.bits == $1.bits && $0.coding == $1.coding }),
      activations.map(\.bits) == plan.activations.map(\.bits)
    else { return }
    judgement = judged
    prediction = judged.expected ?? prediction
    if plan.fileBytes > 0 { fileBytes = plan.fileBytes }
  }
}

extension PlanJudgement {
  init(_ verdict: PlanRounding.Verdict, calibration: String, rounding: Rounding) {
    self.init(
      recipe: verdict.recipe, heldOut: verdict.heldOut, expected: verdict.expected, calibration: calibration,
      rounding: rounding)
  }
}
