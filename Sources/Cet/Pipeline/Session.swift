import CetAutodiff
import CetGraph
import CetOperators
import CetTensor

/// What planning and quantizing share: the engine for one model, calibration data cut into batches, and the loss.
struct Session {
  let model: LoadedModel
  private(set) var engine: Engine
  let batches: [Batch]
  let loss: LossKind
  let sampleCount: Int
  /// Whether the last batch has as many samples as batches of its kind have.
  let lastBatchIsFull: Bool
  private let shifts: ImageShifts
  /// The model as the engine reads it.
  private let found: LinearLayers
  /// Every batch, followed by its shifted copies; made when first asked for.
  private let copies = Once<[[Batch]]>()
  /// The same with the rows that count in statistics.
  private let fittingCache = Once<[[FittingBatch]]>()

  /// - Parameters:
  ///   - data: fitted to the model.
  ///   - output: graph output that the loss reads; nil: the first.
  ///   - parts: the data is cut into at least as many batches, where it has so many samples.
  ///   - totalSamples: with those of other processes; nil: the data's.
  ///   - shifts: copies of every image that statistics are taken from beside it; nil: chosen by the number of samples.
  init(
    _ model: LoadedModel, _ data: Calibration, loss asked: LossKind?, output: String?, batchSize: Int?,
    parts: Int = Session.holdOutParts, totalSamples: Int? = nil, shifts: Int? = 0, threads: Int, monitor: Monitor
  ) throws {
    try monitor.report(.prepare, 0, of: 1)
    try model.checkOperators()
    self.model = model
    let graph = model.found.model.graph
    let name = try Session.outputName(graph, output)
    let workers = Workers(threads: threads)
    let context = ComputeContext()
    let (cut, isFull) = try Session.cut(
      data, size: batchSize, usual: max(1, (totalSamples ?? data.sampleCount) / parts),
      fixed: SampleAxes.fixedBatchSize(of: model.requiredInputs))
    batches = cut
    lastBatchIsFull = isFull
    sampleCount = cut.reduce(0) { $0 + $1.sampleCount }
    self.shifts = ImageShifts(graph, asked: shifts, sampleCount: sampleCount)
    let scores = ClassScores(behind: name, graph)
    let chosen = asked ?? (scores == nil ? .mse : .kl)
    var found = model.found
    var read = name
    if chosen == .kl || chosen == .crossEntropy, let scores {
      read = scores.value
      if scores.hasPositions {
        read = found.names.freeValue("\(scores.value)/scores")
        found.model.graph.nodes.append(
          Node("Flatten", inputs: [scores.value], outputs: [read], attributes: ["axis": .int(1)]))
      }
    }
    if chosen == .crossEntropy, !data.hasLabels {
      throw CetError(.invalidArgument, "loss 'cross-entropy' needs labels, the calibration has none")
    }
    loss = chosen
    self.found = found
    engine = try Engine(found, output: read, loss: chosen, workers: workers, context: context)
    try monitor.report(.prepare, 1, of: 1)
  }

  /// Every fourth batch is held out, and there should be two of them.
  static let holdOutParts = 8
  /// Curvature products: each batch transforms the weights and has an output of the size of the parameter vector, so
  /// few large ones are best. It matters below 16 samples only; more make batches of the largest size.
  static let curvatureParts = 2

  private static func outputName(_ graph: Graph, _ asked: String?) throws -> String {
    guard let first = graph.outputs.first else { throw CetError(.invalidModel, "the model has no outputs") }
    guard let asked else { return first.name }
    guard graph.outputs.contains(where: { $0.name == asked }) else {
      let names = graph.outputs.map { "'\($0.name)'" }.joined(separator: ", ")
      throw CetError(.invalidArgument, "the model has no output '\(asked)' (it has \(names))")
    }
    return asked
  }

  /// The engine computes with float32.
  private static func widened(_ tensor: Tensor) throws -> Tensor {
    guard tensor.type == .float16 || tensor.type == .bfloat16 else { return tensor }
    return try Conversion.convert(tensor, to: .float32, ComputeContext())
  }

  /// Batches of a size that depends on the data alone, never on the number of threads: sums over batches are
  /// then the same for any number.
  private static func cut(
    _ data: Calibration, size: Int?, usual: Int, fixed: Int?
  ) throws -> (batches: [Batch], lastIsFull: Bool) {
    if let size, let fixed, size != fixed {
      throw CetError(.invalidArgument, "option batch_size: the model takes batches of \(fixed), got \(size)")
    }
    var result: [Batch] = []
    var isFull = true
    for part in data.batches {
      let elements = part.inputs.reduce(0) { $0 + $1.tensor.count } / max(1, part.sampleCount)
      let step = fixed ?? size ?? min(elements > 1 << 15 ? 8 : 16, usual)
      var start = 0
      while start < part.sampleCount {
        let end = min(start + step, part.sampleCount)
        guard fixed == nil || end - start == step else {
          throw CetError(
            .shapeMismatch,
            "the model takes batches of \(step), the calibration's \(part.sampleCount) samples are no multiple of it")
        }
        let rows = try part.samples(start..<end)
        result.append(
          try Batch(
            inputs: Dictionary(
              try rows.inputs.map { ($0.name, try Session.widened($0.tensor)) }, uniquingKeysWith: { $1 }),
            sampleAxes: rows.sampleAxes, labels: rows.labels, sampleCount: end - start))
        isFull = end - start == step
        start = end
      }
    }
    guard !result.isEmpty else { throw CetError(.invalidArgument, "the calibration has no samples") }
    return (result, isFull)
  }

  /// The same session with layers, by index, whose bias stays as it is.
  func leavingBiases(of layers: Set<Int>) throws -> Session {
    guard !layers.isEmpty else { return self }
    var session = self
    session.engine = try Engine(
      found, output: engine.output, loss: loss, biasFree: layers, workers: engine.workers, context: engine.context)
    return session
  }

  /// The batch at an index, followed by its shifted copies.
  func withCopies(_ index: Int) throws -> [Batch] { try copied()[index] }

  private func copied() throws -> [[Batch]] {
    try copies.value { try batches.enumerated().map { [$1] + (try shifts.shifted($1, seed: UInt64($0))) } }
  }

  /// The batches at `indices` (nil: all), each followed by its shifted copies, with the rows that count in statistics;
  /// rounding `nearest` uses none.
  func fitting(_ rounding: Rounding, _ indices: [Int]? = nil) throws -> [FittingBatch] {
    let indices = indices ?? Array(batches.indices)
    guard rounding != .nearest else { return indices.map { FittingBatch(batch: batches[$0], rows: [:]) } }
    let all = try fittingCache.value {
      let groups = try copied()
      var rest = try engine.fittingBatches(groups.flatMap { $0 })[...]
      return groups.map { group in
        defer { rest = rest.dropFirst(group.count) }
        return Array(rest.prefix(group.count))
      }
    }
    return indices.flatMap { all[$0] }
  }

  /// The unquantized outputs; throws when one is not finite, because no loss could be compared then.
  func references() throws -> [Tensor] {
    let outputs = try engine.referenceOutputs(batches)
    for (index, output) in outputs.enumerated() where output.type == .float32 {
      for i in 0..<output.count where !output.floats[i].isFinite {
        throw CetError(.numeric, "the model's output '\(engine.output)' is not finite for calibration batch \(index)")
      }
    }
    return outputs
  }
}

/// A value that is made once, when it is first asked for.
final class Once<Value: Sendable>: @unchecked Sendable {
  private let lock = Lock()
  private var made: Value?

  func value(_ make: () throws -> Value) rethrows -> Value {
    try lock.withLock {
      if let made { return made }
      let value = try make()
      made = value
      return value
    }
  }
}
