import CetAutodiff
import CetGraph
import CetLayers
import CetMeasure
import CetOperators
import CetQuantize
import CetTensor

/// What planning and quantizing share: one model bound for measurements, calibration data cut into batches, and the loss.
struct Session {
  let model: LoadedModel
  private(set) var bound: BoundModel
  let batches: [Batch]
  let loss: LossKind
  let sampleCount: Int
  /// Whether the last batch has as many samples as batches of its kind have.
  let lastBatchIsFull: Bool
  /// Lines for people: what is unusual about the samples.
  let notes: [String]
  private let shifts: ImageShifts
  /// The model as it runs, with its layers.
  private let found: LinearLayers
  /// What quantizing rounds beside weights.
  private var activations: RoundedActivations { bound.activations }
  /// For moments of inputs, of which one layer's are gathered whatever they take.
  var statisticsBytes = Int.max
  /// Bytes that may be kept of what layers of the unquantized network read.
  private(set) var readingsRoom = 0
  /// Shifted copies of every batch.
  var copyCount: Int { shifts.copies }
  /// Every batch, followed by its shifted copies; made when first asked for.
  private let copies = Once<[[Batch]]>()
  /// Every batch, followed by its shifted copies, with the rows that count in statistics.
  private let fittingCache = Once<[[FittingBatch]]>()
  /// Of the samples that are not held out, where one fold alone is.
  private(set) var heldIn = UnquantizedReadings()
  private var referenceCache = Once<[Tensor]>()
  private var unchangedCache = Once<SampleLosses>()

  /// - Parameters:
  ///   - data: fitted to the model.
  ///   - output: graph output that the loss reads; nil: the first.
  ///   - parts: the data is cut into at least as many batches, where it has so many samples.
  ///   - totalSamples: with those of other processes; nil: the data's.
  ///   - maxMemory: bytes beyond which a value of the model is refused; nil: the usual share of what is available.
  ///   - shifts: copies of every image that statistics are taken from beside it; nil: chosen by the number of samples.
  init(
    _ model: LoadedModel, _ data: Calibration, loss asked: LossKind?, output: String?, batchSize: Int?,
    parts: Int = SamplePolicy.holdOutParts, totalSamples: Int? = nil, shifts: Int? = 0, threads: Int,
    maxMemory: Int? = nil, monitor: Monitor
  ) throws(CetError) {
    try monitor.report(.prepare, 0, of: 1)
    try model.checkOperators()
    self.model = model
    let graph = model.found.model.graph
    let name = try Session.outputName(graph, output)
    let interruption = Interruption(monitor.check)
    let workers = Workers(threads: threads, interruption: interruption, host: monitor.threads)
    let context = Session.context(maxMemory, interruption)
    var cut = try BatchCut(
      data, size: batchSize, usual: max(1, (totalSamples ?? data.sampleCount) / parts),
      fixedSize: SampleAxes.fixedBatchSize(of: model.requiredInputs))
    sampleCount = cut.sampleCount
    self.shifts = ImageShifts(graph, asked: shifts, sampleCount: sampleCount)
    let scores = ClassScores(behind: name, graph)
    let chosen = asked ?? (scores == nil ? .mse : .kl)
    var found = model.found
    var read = name
    if chosen == .kl || chosen == .crossEntropy, let scores {
      read = scores.value
      if scores.hasPositions {
        read = found.names.freeValue("\(scores.value)/scores")
        found = LinearLayers(
          found, adding: Node("Flatten", inputs: [scores.value], outputs: [read], attributes: ["axis": .int(1)]))
      }
    }
    if chosen == .crossEntropy, !data.hasLabels {
      throw CetError(.invalidArgument, "loss 'cross-entropy' needs labels, the calibration has none")
    }
    loss = chosen
    self.found = found
    bound = try BoundModel(found, output: read, loss: chosen, workers: workers, context: context)
    var notes = SampleNotes.axes(model.file.model.graph, cut.batches[0].sampleAxes, samples: sampleCount)
    if let note = try cut.keepApart(data, bound, isShared: totalSamples != nil) { notes.append(note) }
    batches = cut.batches
    lastBatchIsFull = cut.lastIsFull
    self.notes = notes
    if chosen == .crossEntropy { try checkLabels() }
    try monitor.report(.prepare, 1, of: 1)
  }

  /// A label that is no class has no part in any sum of scores: its loss would count as 0 and change nothing.
  private func checkLabels() throws(CetError) {
    var classes: [Batch.Signature: Int] = [:]
    var first = 0
    for batch in batches {
      if classes[batch.signature] == nil {
        classes[batch.signature] = try bound.programs.forward(batch, outputs: [bound.output]).outputTypes[0].shape.last ?? 0
      }
      if let labels = batch.labels, let count = classes[batch.signature] {
        try ClassIndices(count: count).check(labels) { index in
          "label of sample \(first + index / max(1, labels.count / max(1, batch.sampleCount)))"
        }
      }
      first += batch.sampleCount
    }
  }

  /// Values of this size are bound whatever the limit is, so that the whole can be named where it is too little.
  private static let leastValueLimit = 1 << 26

  private static func outputName(_ graph: Graph, _ asked: String?) throws(CetError) -> String {
    guard let first = graph.outputs.first else { throw CetError(.invalidModel, "the model has no outputs") }
    guard let asked else { return first.name }
    guard graph.outputs.contains(where: { $0.name == asked }) else {
      let names = graph.outputs.map { "'\($0.name)'" }.joined(separator: ", ")
      throw CetError(.invalidArgument, "the model has no output '\(asked)' (it has \(names))")
    }
    return asked
  }

  /// This session with layers, by index, whose bias stays as it is.
  func leavingBiases(of layers: Set<Int>) throws(CetError) -> Session {
    guard !layers.isEmpty else { return self }
    var session = self
    session.bound = try bind(biasFree: layers)
    return session
  }

  /// This session with activations that can be rounded, and the grids of those that quantizing rounds. What was found out about
  /// the unquantized network is shared.
  func rounding(_ activations: RoundedActivations) throws(CetError) -> Session {
    guard activations != self.activations else { return self }
    var session = self
    session.bound = try bind(activations: activations)
    if activations.gridNames != self.activations.gridNames {
      // A program that can round is another one, whose last bits are its own.
      (session.referenceCache, session.unchangedCache) = (Once(), Once())
      session.heldIn = UnquantizedReadings(room: readingsRoom)
    }
    return session
  }

  /// This session for a call of its own: with its own wish to stop and its own threads. What was found out about the samples is shared.
  func forCall(threads: Int, maxMemory: Int? = nil, _ monitor: Monitor) throws(CetError) -> Session {
    var session = self
    let interruption = Interruption(monitor.check)
    session.bound = try bind(
      workers: Workers(threads: threads, interruption: interruption, host: monitor.threads),
      context: Session.context(maxMemory, interruption))
    return session
  }

  private static func context(_ maxMemory: Int?, _ interruption: Interruption) -> ComputeContext {
    ComputeContext(memoryLimit: max(memoryLimit(maxMemory), leastValueLimit), interruption: interruption)
  }

  /// To no more threads than these, before any work starts.
  mutating func limit(threads: Int) throws(CetError) {
    bound = try bind(workers: bound.workers.limited(to: threads))
  }

  /// The session's model bound anew, with what is not said as it is.
  private func bind(
    biasFree: Set<Int> = [], activations: RoundedActivations? = nil, workers: Workers? = nil, context: ComputeContext? = nil
  ) throws(CetError) -> BoundModel {
    try BoundModel(
      found, output: bound.output, loss: loss, biasFree: biasFree, activations: activations ?? self.activations,
      workers: workers ?? bound.workers, context: context ?? bound.context)
  }

  /// The batch at an index, followed by its shifted copies.
  func withCopies(_ index: Int) throws(CetError) -> [Batch] { try copied()[index] }

  private func copied() throws(CetError) -> [[Batch]] {
    try copies.value { () throws(CetError) in
      try batches.enumerated().map { index, batch throws(CetError) in
        [batch] + (try shifts.shifted(batch, seed: UInt64(index)))
      }
    }
  }

  /// The batches at `indices` (nil: all), each followed by its shifted copies, with the rows that count in statistics;
  /// rounding `nearest` uses none.
  func fitting(_ rounding: Rounding, _ indices: [Int]? = nil) throws(CetError) -> [FittingBatch] {
    let indices = indices ?? Array(batches.indices)
    guard rounding != .nearest else { return indices.map { FittingBatch(batch: batches[$0], rows: [:]) } }
    let all = try fittingCache.value { () throws(CetError) in
      let groups = try copied()
      var rest = try RelevantRows(bound).run(groups.flatMap { $0 })[...]
      return groups.map { group in
        defer { rest = rest.dropFirst(group.count) }
        return Array(rest.prefix(group.count))
      }
    }
    return indices.flatMap { all[$0] }
  }

  /// What is known of the unquantized network on the samples that are not held out, by fold.
  func readings(folds: Int) -> [UnquantizedReadings] {
    folds == 1 ? [heldIn] : (0..<folds).map { _ in UnquantizedReadings(room: readingsRoom / folds) }
  }

  /// Keeps less than `room` bytes of what layers of the unquantized network read.
  mutating func limitReadings(to room: Int) {
    readingsRoom = min(room, Session.mostReadings)
    heldIn.limit(to: readingsRoom)
  }

  /// ResNet-18 with 128 images makes some 300 MB.
  private static let mostReadings = 1 << 29

  /// The unquantized outputs; throws when one is not finite, because no loss could be compared then.
  func references() throws(CetError) -> [Tensor] {
    try referenceCache.value { () throws(CetError) in
      let outputs = try bound.referenceOutputs(batches)
      for (index, output) in outputs.enumerated() where output.type == .float32 {
        for i in 0..<output.count where !output.floats[i].isFinite {
          throw CetError(.numeric, "the model's output '\(bound.output)' is not finite for calibration batch \(index)")
        }
      }
      return outputs
    }
  }

  func unchangedLosses() throws(CetError) -> SampleLosses {
    try unchangedCache.value { () throws(CetError) in
      try bound.sampleLosses(batches, references: references(), changed: [:])
    }
  }

  /// What every sample loses more with these layers quantized, batch by batch.
  func change(_ layers: [Int: QuantizedLayer]) throws(CetError) -> [SampleLosses] {
    let before = try unchangedLosses()
    let change = try bound.sampleLosses(batches, references: references(), changed: bound.replacements(layers)) - before
    var first = 0
    return batches.map { batch in
      let range = first..<first + batch.sampleCount
      first = range.upperBound
      return SampleLosses(plain: Array(change.plain[range]), judged: Array(change.judged[range]))
    }
  }
}

/// A value that is made once, when it is first asked for.
final class Once<Value: Sendable>: @unchecked Sendable {
  private let lock = Lock()
  private var made: Value?

  func value<Failure>(_ make: () throws(Failure) -> Value) throws(Failure) -> Value {
    try lock.withLock { () throws(Failure) in
      if let made { return made }
      let value = try make()
      made = value
      return value
    }
  }
}
