import CetAllocate
import CetAutodiff
import CetTensor

/// A bit width for every weight tensor that meets the target with the least loss.
/// - Parameter data: fitted to the model.
public func makePlan(
  _ model: LoadedModel, _ data: Calibration, _ options: PlanOptions, _ monitor: Monitor
) throws -> CompressionPlan {
  try options.validate()
  return try SerialKernels.run { try measuredPlan(model, data, options, monitor) }
}

private func measuredPlan(
  _ model: LoadedModel, _ data: Calibration, _ options: PlanOptions, _ monitor: Monitor
) throws -> CompressionPlan {
  let samples = try data.prefix(options.samples)
  let session = try Session(
    model, samples, loss: options.loss, output: options.output, batchSize: options.batchSize, threads: options.threads,
    monitor: monitor)
  let draft = try PlanDraft(model, options)
  // An unreachable target is refused before anything is measured.
  try draft.checkTarget()
  let table = try session.lossTable(draft, options, monitor)
  let literal = options.method == .paper ? try session.paperBits(draft, options, monitor) : nil
  try monitor.report(.allocate, 0, of: 1)
  var plan = try draft.plan(table, loss: session.loss, samples: session.sampleCount, given: literal)
  if session.split.heldOut.count == session.batches.count {
    plan.notes.append(
      "\(session.sampleCount) calibration samples are too few to hold some out: losses at low bits may be underestimated")
  }
  try monitor.report(.allocate, 1, of: 1)
  return plan
}

/// The plan for another target from the loss table of a plan: no data, no forward passes.
public func makePlan(
  _ model: LoadedModel, sensitivityOf plan: CompressionPlan, _ options: PlanOptions
) throws -> CompressionPlan {
  try options.validate()
  try model.checkBelongs(plan)
  guard plan.options.method != .paper else {
    throw CetError(.invalidArgument, "method 'paper' keeps no table: it chooses bits from calibration data")
  }
  var options = options
  options.method = plan.options.method
  options.granularity = plan.options.granularity
  let draft = try PlanDraft(model, options)
  try draft.checkTarget()
  let measured = Dictionary(plan.tensors.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
  var table = LossTable(count: model.found.layers.count)
  for (index, layer) in model.found.layers.enumerated() {
    guard let known = measured[layer.name] else { continue }
    table.measured[index] = known.measuredLoss
    table.curvature[index] = known.curvatureLoss
    let losses = known.measuredLoss.isEmpty ? known.curvatureLoss : known.measuredLoss
    for bits in draft.widths[index] where options.method != .uniform && losses[bits] == nil {
      throw CetError(
        .invalidArgument, "the plan has no loss of '\(layer.name)' at \(bits) bits: it was made without that choice")
    }
  }
  return try draft.plan(table, loss: plan.loss, samples: plan.samples)
}

/// Losses by layer and bits.
struct LossTable {
  /// Loss change with only this layer quantized.
  var measured: [[Int: Double]]
  /// The same from a model of the loss: curvature or gradients.
  var curvature: [[Int: Double]]

  init(count: Int) {
    measured = [[Int: Double]](repeating: [:], count: count)
    curvature = measured
  }
}

extension Session {
  /// The losses of each layer alone at each of its widths, by the method that was asked for.
  func lossTable(_ draft: PlanDraft, _ options: PlanOptions, _ monitor: Monitor) throws -> LossTable {
    var table = LossTable(count: engine.layers.count)
    // The literal method and the uniform one know no losses of tensors.
    guard options.method != .uniform, options.method != .paper else { return table }
    let (fitting, heldOut) = split
    let widths = Dictionary(
      draft.widths.enumerated().filter { !$1.isEmpty }.map { ($0, $1) }, uniquingKeysWith: { first, _ in first })
    let rows = try self.fitting(options.rounding)
    let quantized = try candidates(
      widths, fitting: fitting.map { rows[$0] }, rounding: options.rounding, granularity: options.granularity,
      maxMemory: options.maxMemory, monitor: monitor)
    let errors = CandidateErrors(engine: engine, widths: draft.widths, quantized: quantized)
    switch options.method {
    case .hawqV2: table.curvature = try hawqTable(errors, options, monitor)
    case .mckp: table.curvature = try fisherTable(errors, options, monitor)
    default: table.measured = try measuredTable(errors, heldOut: heldOut, monitor)
    }
    return table
  }

  /// Step 5: measured on batches that the rounding did not see.
  private func measuredTable(_ errors: CandidateErrors, heldOut: [Int], _ monitor: Monitor) throws -> [[Int: Double]] {
    let references = try references()
    let losses = try engine.measureAlone(
      engine.layers.indices.map { errors.quantized[$0] ?? [] }, batches: heldOut.map { batches[$0] },
      references: heldOut.map { references[$0] }
    ) { try monitor.report(.sensitivity, $0, of: $1) }
    return try losses.enumerated().map { index, values in
      for (bits, loss) in zip(errors.widths[index], values) where !loss.isFinite {
        throw CetError(.numeric, "the loss is not finite with '\(engine.layers[index].name)' at \(bits) bits")
      }
      return Dictionary(zip(errors.widths[index], values), uniquingKeysWith: { first, _ in first })
    }
  }
}
