import CetAutodiff
import CetEncode
import CetGraph
import CetLayers
import CetMeasure
import CetONNX
import CetQuantize
import CetTensor

public typealias QuantizedTensor = CetQuantize.QuantizedTensor

/// A float initializer that goes with the codes: a bias corrected for the quantization error.
public struct Correction: Sendable {
  public var name: String
  public var node: String
  /// Whether the node had no bias before.
  public var isAdded: Bool
  public var values: [Float]

  public init(name: String, node: String, isAdded: Bool, values: [Float]) {
    self.name = name
    self.node = node
    self.isAdded = isAdded
    self.values = values
  }
}

/// Carries a plan out.
/// - Parameter data: fitted to the model; nil is enough for rounding `nearest` without a measured loss.
public func quantizeModel(
  _ model: LoadedModel, _ data: Calibration?, _ plan: CompressionPlan, _ options: QuantizeOptions, _ monitor: Monitor
) throws(CetError) -> QuantizedModel {
  try options.validate()
  return try monitor.attended { () throws(CetError) in
    try model.findDigest(monitor.check)
    let plan = try model.ready(plan, options)
    let rounding = options.rounding ?? plan.options.rounding
    let bits = plan.bits(of: model.found.layers)
    guard let data else {
      guard rounding == .nearest else {
        throw CetError(.invalidArgument, "rounding '\(rounding.rawValue)' needs calibration data, only 'nearest' does not")
      }
      return try nearest(model, plan, bits, options, monitor)
    }
    return try SerialKernels.run { () throws(CetError) in try carryOut(model, data, plan, bits, rounding, options, monitor) }
  }
}

extension LoadedModel {
  /// A plan as it will be carried out.
  func ready(_ plan: CompressionPlan, _ options: QuantizeOptions) throws(CetError) -> CompressionPlan {
    var plan = plan
    if let encoding = options.encoding, encoding != plan.options.encoding {
      // What was found out about rounding holds for the levels of the other encoding.
      plan.options.encoding = encoding
      plan.judgement = nil
      try plan.leaveTrellis()
    }
    if let effort = options.effort { plan.options.effort = effort }
    plan = try fitted(plan)
    plan.modelBytes = byteCount
    return plan
  }
}

extension CompressionPlan {
  /// For an encoding that has no trellis codes: grids of the same bits take their place.
  fileprivate mutating func leaveTrellis() throws(CetError) {
    guard !options.encoding.carriesTrellis else { return }
    if options.coding != .symmetric { options.coding = .affine }
    options.bits = options.bits?.filter { $0 > 1 }
    if options.bits == [] { options.bits = nil }
    guard tensors.contains(where: { $0.isPlanned && $0.coding == .trellis }) else { return }
    for index in tensors.indices where tensors[index].isPlanned && tensors[index].coding == .trellis {
      guard tensors[index].bits > 1 else {
        throw CetError(
          .invalidArgument,
          "the plan gives '\(tensors[index].name)' 1 bit, which needs trellis codes: encoding '\(options.encoding.rawValue)' has none")
      }
      // The table's losses are of codes that this tensor has no more.
      tensors[index].coding = .affine
      tensors[index].codings = [:]
      tensors[index].sensitivity = [:]
      tensors[index].measuredLoss = [:]
      tensors[index].curvatureLoss = [:]
      tensors[index].trustRadius = nil
      tensors[index].lossPerByte = nil
    }
    predict(from: nil)
    notes.append("encoding '\(options.encoding.rawValue)' has no trellis codes: tensors that the plan gave them have affine ones of the same bits")
  }
}

/// Nearest codes need neither data nor an executable model.
private func nearest(
  _ model: LoadedModel, _ plan: CompressionPlan, _ bits: [Int: Int], _ options: QuantizeOptions,
  _ monitor: Monitor
) throws(CetError) -> QuantizedModel {
  let interruption = Interruption(monitor.check)
  let bound = try BoundModel(
    model.found, output: "", loss: plan.loss,
    workers: Workers(threads: options.threads, interruption: interruption, host: monitor.threads),
    context: ComputeContext(interruption: interruption))
  let (codings, rules) = (plan.codings(of: model), plan.options.codeRules(of: model))
  var layers: [Int: QuantizedLayer] = [:]
  for (index, width) in bits {
    try monitor.report(.rounding, layers.count, of: bits.count)
    let format = CodeFormat(bits: width, coding: codings[index][width] ?? .affine)
    layers[index] = try LayerRounding(bound, index, nil).quantized(format, rules: rules)
  }
  var done = plan
  done.options.rounding = .nearest
  done.measuredLossChange = nil
  done.heldOutLoss = nil
  return try QuantizedModel(model, plan: done, layers: layers, biasNames: bound.biasNames, probe: nil)
}

/// What `quantizeModel` will hold at most beyond model and data: computed from the shapes, nothing is rounded.
public func quantizingMemory(
  _ model: LoadedModel, _ data: Calibration, _ plan: CompressionPlan, _ options: QuantizeOptions, _ monitor: Monitor
) throws(CetError) -> Int {
  let plan = try model.ready(plan, options)
  let (bits, rounding) = (plan.bits(of: model.found.layers), options.rounding ?? plan.options.rounding)
  return try monitor.attended { () throws(CetError) in
    try SerialKernels.run { () throws(CetError) in try workingSession(model, data, plan, bits, rounding, options, monitor).need.total }
  }
}

/// A session for carrying a plan out, with room for its work.
private func workingSession(
  _ model: LoadedModel, _ data: Calibration, _ plan: CompressionPlan, _ bits: [Int: Int], _ rounding: Rounding,
  _ options: QuantizeOptions, _ monitor: Monitor
) throws(CetError) -> (session: Session, samples: Calibration, need: WorkMemory) {
  let samples = try data.prefix(options.samples ?? plan.samples)
  let maxMemory = options.maxMemory ?? plan.options.maxMemory
  var session = try Session(
    model, samples, loss: plan.loss, output: plan.options.output, batchSize: options.batchSize ?? plan.options.batchSize,
    shifts: plan.options.shifts, threads: options.threads, maxMemory: maxMemory, monitor: monitor
  ).rounding(model.rounded(plan))
  let need = try session.reserve(
    .quantizing, model.found.layers.indices.map { bits[$0].map { [$0] } ?? [] }, rounding: rounding, maxMemory: maxMemory, monitor)
  return (session, samples, need)
}

private func carryOut(
  _ model: LoadedModel, _ data: Calibration, _ plan: CompressionPlan, _ bits: [Int: Int], _ rounding: Rounding,
  _ options: QuantizeOptions, _ monitor: Monitor
) throws(CetError) -> QuantizedModel {
  let (given, samples, _) = try workingSession(model, data, plan, bits, rounding, options, monitor)
  let notes = given.notes
    + SampleNotes.fitting(
      model.file.model.graph, asked: options.samples ?? plan.samples, given: data.sampleCount, output: plan.options.output)
    + plan.options.encoding.notes(model.found.layers, activations: try model.written(plan))
  let news = notes.filter { !plan.notes.contains($0) }
  for note in news { monitor.log(.warning, note) }
  let references = try given.references()
  let rounder = try PlanRounding(given, plan, maxMemory: options.maxMemory ?? plan.options.maxMemory, monitor)
  let judgement = try judgement(of: plan, samples, rounding, rounder)
  if case .maximumLoss(let limit) = plan.options.target { try LossLimit.check(judgement.expected, limit) }
  let (layers, session) = try rounder.layers(judgement.recipe)
  let changed = try session.bound.replacements(layers)
  try monitor.report(.measure, 0, of: 1)
  let before = try session.bound.meanLoss(session.batches, references: references, changed: [:])
  let after = try session.bound.meanLoss(session.batches, references: references, changed: changed)
  try monitor.report(.measure, 1, of: 1)
  var done = plan
  done.options.rounding = rounding
  done.notes += news
  return try session.result(done, layers, judgement, loss: after - before)
}

extension Session {
  /// - Parameter loss: change over all samples.
  func result(
    _ plan: CompressionPlan, _ layers: [Int: QuantizedLayer], _ judgement: PlanJudgement, loss: Double
  ) throws(CetError) -> QuantizedModel {
    guard loss.isFinite else { throw CetError(.numeric, "the loss of the quantized model is not finite") }
    var done = plan
    done.judgement = judgement
    done.heldOutLoss = judgement.heldOut
    done.measuredLossChange = loss
    // One batch, with what the written file must compute on it.
    let inputs = batches[0]
    let output = bound.model.graph.outputs.map(\.name)
    func outputs(_ changed: [String: Tensor]) throws(CetError) -> [Tensor] {
      try bound.programs.forward(inputs, outputs: output).run(inputs, weights: bound.weights.merging(changed) { $1 })
        .map { x throws(CetError) in try x.rowMajor() }
    }
    let changed = try bound.replacements(layers)
    let expected = try outputs(changed)
    let rounded = bound.activations.grids.keys
    let unrounded = try rounded.isEmpty ? nil : outputs(changed.filter { !rounded.contains($0.key) })
    // The probe's tensors keep the arena alive as long as the result lives.
    bound.context.arena.trim()
    return try QuantizedModel(
      model, plan: done, layers: layers, biasNames: bound.biasNames,
      probe: Probe(inputs: inputs, outputs: expected, unrounded: unrounded))
  }
}

/// How the plan's bits are rounded best: as planning found out for these samples, or found out now.
private func judgement(
  of plan: CompressionPlan, _ samples: Calibration, _ rounding: Rounding, _ rounder: PlanRounding
) throws(CetError) -> PlanJudgement {
  let calibration = Fingerprint.text(of: samples)
  if let known = plan.judgement, known.calibration == calibration, known.rounding == rounding { return known }
  return PlanJudgement(try rounder.judge(rounding), calibration: calibration, rounding: rounding)
}

/// What a written file must compute.
struct Probe: Sendable {
  let inputs: Batch
  let outputs: [Tensor]
  /// The outputs with activations as they are; nil: none is rounded.
  let unrounded: [Tensor]?

  /// Largest difference that another run's output may have: rounding makes whole steps of differences in last bits, so that two
  /// runs with rounded activations are as far from each other as from one without. Root mean square over the output.
  func roundingError(_ output: Int) throws(CetError) -> Float {
    guard let unrounded, outputs[output].type == .float32 else { return 0 }
    let (a, b) = (try outputs[output].array(as: Float.self), try unrounded[output].array(as: Float.self))
    return Probe.rootMeanSquare(a, b)
  }

  static func rootMeanSquare(_ a: [Float], _ b: [Float]) -> Float {
    let sum = zip(a, b).reduce(0.0) { sum, pair in
      let difference = Double(pair.0) - Double(pair.1)
      return difference.isFinite ? sum + difference * difference : sum
    }
    return Float((sum / Double(max(1, a.count))).squareRoot())
  }
}

/// Codes, corrected biases, and the file that holds them.
public final class QuantizedModel: @unchecked Sendable {
  let model: LoadedModel
  let layers: [Int: QuantizedLayer]
  private let rewriting: Rewriting
  private let probe: Probe?
  private let activations: [WrittenActivation]
  /// The plan that was carried out, with the measured loss change and the file's size.
  public let plan: CompressionPlan
  /// In graph order.
  public let tensors: [QuantizedTensor]
  public let corrections: [Correction]

  init(
    _ model: LoadedModel, plan: CompressionPlan, layers: [Int: QuantizedLayer], biasNames: [String?], probe: Probe?
  ) throws(CetError) {
    self.model = model
    self.layers = layers
    self.probe = probe
    let rewriting = Rewriting(model.found, original: model.file.model, biasNames: biasNames)
    self.rewriting = rewriting
    activations = try model.written(plan)
    var plan = plan
    let metadata = FileMetadata.entries(model, plan: plan)
    let sizes = layers.mapValues { LayerContent(sizeOf: $0.tensor.form, biasCount: $0.bias?.count) }
    plan.fileBytes = try ModelWriter.size(
      edit: rewriting.edit(sizes, activations: activations, encoding: plan.options.encoding, runtime: plan.options.runtime, metadata: metadata), of: model.file,
      place: plan.options.place)
    self.plan = plan
    let indices = layers.keys.sorted()
    tensors = indices.compactMap { layers[$0]?.tensor }
    corrections = indices.compactMap { index in
      guard let values = layers[index]?.bias, let name = rewriting.biasNames[index] else { return nil }
      let layer = rewriting.found.layers[index]
      let isAdded = if case .addable = layer.bias { true } else { false }
      return Correction(
        name: name, node: layer.node.displayName, isAdded: isAdded, values: values)
    }
  }

  private func edit(_ encoding: Encoding) throws(CetError) -> ModelEdit {
    let widths = plan.activations.compactMap { $0.choice?.grid.bits }
    guard activations.isEmpty || encoding.takesActivations(widths) else {
      let possible = Encoding.allCases.filter { $0.takesActivations(widths) }.map(\.rawValue)
      let bits = Set(widths).sorted().map(String.init).joined(separator: ", ")
      throw CetError(
        .invalidArgument, "encoding '\(encoding.rawValue)' cannot hold a plan that rounds activations to \(bits) bits",
        expected: possible.joined(separator: ", "), got: encoding.rawValue)
    }
    return try rewriting.edit(
      layers.mapValues { LayerContent($0) }, activations: activations, encoding: encoding, runtime: plan.options.runtime, metadata: FileMetadata.entries(model, plan: plan))
  }

  /// The file's bytes, all in one. They are read back and run before they are handed over.
  /// - Parameter maxMemory: bytes that the call may hold beyond this object; nil: of the check's values 60 % of what is available.
  public func bytes(encoding: Encoding, maxMemory: Int? = nil, _ monitor: Monitor = Monitor()) throws(CetError) -> [UInt8] {
    try monitor.attended { () throws(CetError) in
      try monitor.report(.write, 0, of: 1)
      let edit = try self.edit(encoding)
      // The bytes, and the copy that the caller gets.
      let room = try Room(maxMemory) { () throws(CetError) in try 3 * size(edit) }
      let bytes = try ModelWriter.write(edit: edit, of: model.file)
      try room.run { half throws(CetError) in try verify(ModelFile(bytes: bytes).model, memory: half, monitor) }
      try monitor.report(.write, 1, of: 1)
      return bytes
    }
  }

  /// Writes the file in one step: an error leaves what was there before, or nothing.
  /// - Parameter maxMemory: as for `bytes`.
  public func save(path: String, encoding: Encoding, maxMemory: Int? = nil, _ monitor: Monitor = Monitor()) throws(CetError) {
    try monitor.attended { () throws(CetError) in
      try monitor.report(.write, 0, of: 1)
      let edit = try self.edit(encoding)
      let room = try Room(maxMemory) { () throws(CetError) in try 2 * size(edit) }
      let output = try ModelWriter.layOut(edit: edit, of: model.file, toFile: path, place: plan.options.place)
      // Where tensors go beside the file the model is checked as it is in memory.
      let written = try output.bytes().map { bytes throws(CetError) in try ModelFile(bytes: bytes).model }
        .or(edit.applied(to: model.file.model))
      try room.run { half throws(CetError) in try verify(written, memory: half, monitor) }
      // The file is there after the last question: no later wish to stop can undo it.
      try output.write(monitor.check) { () throws(CetError) in try monitor.report(.write, 1, of: 1) }
    }
  }

  private func size(_ edit: ModelEdit) throws(CetError) -> Int {
    try ModelWriter.size(edit: edit, of: model.file, place: plan.options.place)
  }

  /// A limit on memory, and what of it the bytes of a file take.
  private struct Room {
    let held: Int
    let limit: Int?

    /// - Parameter held: asked only where there is a limit.
    init(_ limit: Int?, held: () throws(CetError) -> Int) throws(CetError) {
      self.limit = limit
      self.held = try limit == nil ? 0 : held()
      guard let limit, self.held >= limit else { return }
      throw needs(2 * self.held, limit)
    }

    private func needs(_ bytes: Int, _ limit: Int) -> CetError {
      CetError(
        .outOfMemory, "option max_memory is \(limit) bytes; the file and the run that checks it need \(bytes) or more", bytesNeeded: bytes)
    }

    /// Runs the check, whose decoded weights and values have half of what is left each.
    func run(_ check: (_ half: Int?) throws(CetError) -> Void) throws(CetError) {
      guard let limit else { return try check(nil) }
      do {
        try check((limit - held) / 2)
      } catch where error.code == .outOfMemory {
        // The first value that has no room says little about those behind it: who asks again with as much comes to an end soon.
        throw needs(held + 2 * max(error.bytesNeeded, limit - held), limit)
      }
    }
  }

  /// Runs a model on the probe and compares with the quantized weights in the library. Without calibration data
  /// there is nothing to run.
  /// - Parameter memory: bytes that decoded weights, and values of the run, may have each; nil: 60 % of what is available.
  private func verify(_ written: Model, memory: Int?, _ monitor: Monitor) throws(CetError) {
    guard let probe else { return }
    // The weights are decoded in the file's own types: a widened decoder would not round them to 16 bits.
    let names = Set(layers.keys.map { rewriting.found.layers[$0].name })
    let inlined = Inlining(written).model
    let context = ComputeContext(memoryLimit: memoryLimit(memory), interruption: Interruption(monitor.check))
    let decoded = try ConstantFolding(inlined, encoded: names, context).applied(to: inlined)
    try monitor.check()
    // Kernels of float16 do not round decoded weights to it, as the library does: a difference that layers behind each other make larger.
    let isInHalfKernels = layers.keys.contains { rewriting.found.layers[$0].elementType == .float16 }
      && written.graph.nodes.contains { $0.domain == "com.microsoft" && ["MatMulNBits", "GatherBlockQuantized"].contains($0.operatorType) }
    let tolerance: Float = isInHalfKernels ? 4e-3 : 1e-3
    let outputs = try forward(decoded.widened(), inputs: probe.inputs.inputs.map { ($0.key, $0.value) }, maxMemory: memory, Interruption(monitor.check))
    for (index, (output, reference)) in zip(outputs, probe.outputs).enumerated() where reference.type == .float32 {
      guard output.tensor.type == .float32, output.tensor.shape == reference.shape else {
        throw CetError(.internal, "the written model's output '\(output.name)' has another type or shape")
      }
      var (largest, difference) = (Float(0), Float(0))
      for (expected, found) in zip(try reference.array(as: Float.self), try output.tensor.array(as: Float.self))
      where expected != found && !(expected.isNaN && found.isNaN) {
        guard expected.isFinite, found.isFinite else {
          throw CetError(.internal, "the written model's output '\(output.name)' has \(found) where \(expected) was expected")
        }
        difference = max(difference, abs(expected - found))
      }
      for value in try reference.array(as: Float.self) where value.isFinite { largest = max(largest, abs(value)) }
      if probe.unrounded != nil || isInHalfKernels {
        difference = Probe.rootMeanSquare(try reference.array(as: Float.self), try output.tensor.array(as: Float.self))
      }
      guard difference <= tolerance * max(largest, 1e-3) + 2 * (try probe.roundingError(index)) else {
        throw CetError(
          .internal, "the written model's output '\(output.name)' differs by \(difference) from the quantized weights")
      }
    }
  }
}
