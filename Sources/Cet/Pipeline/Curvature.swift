import CetAutodiff
import CetFormats
import CetGraph
import CetMeasure
import CetQuantize
import CetSpectral
import CetTensor

public typealias Communicator = CetAutodiff.Communicator
public typealias CurvatureMemory = CetAutodiff.CurvatureMemory

/// The second derivative of the mean loss over the calibration samples in the parameter vector.
///
/// With a communicator the samples are those of all its processes, each of which makes the same calls: whatever a call
/// computes or refuses is the same on all of them.
public final class Curvature: LinearMap, @unchecked Sendable {
  private let map: CurvatureOperator
  private let interruption: Interruption
  /// Makes a monitor for one call, on the thread that makes the call.
  private let host: () -> Monitor
  public let parameters: [ParameterSlot]
  public let communicator: Communicator?
  /// Lines for people: what is unusual about the samples.
  public let notes: [String]
  private let model: LoadedModel
  private let properties: [Fingerprint.Field]
  public var dimension: Int { map.dimension }
  /// Of all processes.
  public var sampleCount: Int { map.sampleCount }
  /// Of this process.
  public var batchCount: Int { map.batchCount }
  public var memory: CurvatureMemory { map.memory }
  public var peakBytes: Int { map.peakBytes }
  /// What the curvature is of; of the samples, those of this process.
  public var fingerprint: Fingerprint {
    Fingerprint([.init("model_sha256", model.sha256)] + properties)
  }

  /// - Parameters:
  ///   - communicator: nil: this process has all samples.
  ///   - host: makes the monitor of a call on the thread that makes it: of this one, of `loss` and of `gradient`. With a
  ///     communicator only its threads count.
  ///   - arguments: model, data fitted to it, and options; what is wrong with them is told to the other processes.
  public init(
    _ communicator: Communicator? = nil, host: @escaping () -> Monitor = { Monitor() },
    arguments: () throws -> (LoadedModel, Calibration, CurvatureOptions)
  ) throws(CetError) {
    self.communicator = communicator
    self.host = host
    let monitor = communicator == nil ? host() : Monitor(threads: host().threads)
    let (model, samples, options) = try communicator.agree {
      let (model, data, options) = try arguments()
      try options.validate()
      guard communicator == nil || options.samples == nil else {
        throw CetError(.invalidArgument, "option samples: with a communicator each rank adds the samples that it uses")
      }
      return (model, try data.prefix(options.samples), options)
    }
    let total = try communicator?.gather([Double(samples.sampleCount)]).reduce(0) { $0 + Int($1[0]) }
    let (session, slots) = try communicator.agree {
      let asked = options.loss ?? (samples.hasLabels ? .crossEntropy : nil)
      let session = try monitor.attended { () throws(CetError) in
        try Session(
          model, samples, loss: asked, output: options.output, batchSize: options.batchSize,
          parts: SamplePolicy.curvatureParts, totalSamples: total, threads: options.threads,
          maxMemory: memoryLimit(options.maxMemory, processes: communicator?.size ?? 1), monitor: monitor)
      }
      return (session, try Curvature.slots(model, options))
    }
    parameters = slots
    self.model = model
    notes = session.notes
    for note in notes { monitor.log(.warning, note) }
    interruption = session.bound.context.interruption
    // Of gigabytes it takes seconds. With a communicator there is no callback, and nothing that throws.
    let data = try monitor.attended { () throws(CetError) in
      try model.findDigest(monitor.check)
      return Fingerprint.text(of: samples)
    }
    properties = [
      .init("data", data), .init("loss", session.loss.rawValue),
      .init("curvature", options.curvature.rawValue), .init("output", session.bound.output),
      .init("parameters", Fingerprint.text(of: parameters)),
      .init("batches", session.batches.map { String($0.sampleCount) }.joined(separator: " ")),
    ]
    let share = try communicator.map { ranks throws(CetError) in try CalibrationShare(ranks, session, slots, options) }
    map = try communicator.agree {
      try monitor.attended { () throws(CetError) in
        try CurvatureOperator(
          model: session.bound.model, output: session.bound.output, parameters: slots, batches: session.batches,
          loss: session.loss, curvature: options.curvature, workers: session.bound.workers,
          context: session.bound.context,
          memoryLimit: memoryLimit(options.maxMemory, processes: communicator?.size ?? 1), share: share)
      }
    }
    try map.agreeOnDirections()
    // The monitor is that of this call.
    interruption.forget()
  }

  /// Of samples that this process has all of; `data` is fitted to the model.
  public convenience init(_ model: LoadedModel, _ data: Calibration, _ options: CurvatureOptions) throws(CetError) {
    try self.init(arguments: { (model, data, options) })
  }

  private static func slots(_ model: LoadedModel, _ options: CurvatureOptions) throws(CetError) -> [ParameterSlot] {
    let names = model.found.tensorNames
    var wanted: Set<Int> = []
    for pattern in options.only { wanted.formUnion(try TensorPattern(pattern).indices(in: names, use: "only")) }
    var left = options.only.isEmpty ? [] : Set(names.indices).subtracting(wanted)
    for pattern in options.keep { left.formUnion(try TensorPattern(pattern).indices(in: names, use: "keep")) }
    let slots = model.found.layers.enumerated().filter { !left.contains($0.offset) }.map(\.element).parameters
    guard !slots.isEmpty else { throw CetError(.invalidArgument, "the model has no parameters to differentiate") }
    return slots
  }

  /// hv = H·v, the mean over samples, for `count` vectors one after the other. `arguments` checks the caller's
  /// vectors, together with the other processes.
  public func apply(
    count: Int, _ arguments: () throws -> (v: UnsafePointer<Float>, hv: UnsafeMutablePointer<Float>)
  ) throws(CetError) {
    let (v, hv) = try communicator.agree(arguments)
    try map.apply(v, count: count, hv)
  }

  public func apply(_ v: UnsafePointer<Float>, _ hv: UnsafeMutablePointer<Float>) throws(CetError) {
    try apply(count: 1) { (v, hv) }
  }

  public func apply(_ v: UnsafePointer<Float>, count: Int, _ hv: UnsafeMutablePointer<Float>) throws(CetError) {
    try apply(count: count) { (v, hv) }
  }

  public func gradient(_ arguments: () throws -> UnsafeMutablePointer<Float>) throws(CetError) {
    let result = try communicator.agree(arguments)
    try heard { () throws(CetError) in try map.gradient(result) }
  }

  public func loss(_ argument: () throws -> UnsafeMutablePointer<Double>) throws(CetError) {
    let result = try communicator.agree(argument)
    result.pointee = try heard { () throws(CetError) in try map.loss() }
  }

  public func loss() throws(CetError) -> Double { try map.loss() }

  /// Bytes for basis and blocks of a solve: what is asked for; or what the curvature leaves of a limit for both, or of a share
  /// of the available memory. Where that is too little for the solve to go well, the curvature takes less. Every
  /// process gets the same number, because what is computed depends on it.
  public func memory(for options: EigensolveOptions) throws(CetError) -> Int {
    func rest() -> Int {
      if let total = options.totalMaxMemory { return total - map.memory.predicted }
      return memoryLimit(
        options.maxMemory, processes: communicator?.size ?? 1, reserved: max(0, map.memory.predicted - map.peakBytes))
    }
    if options.maxMemory == nil {
      let missing = options.ampleBytes(dimension: dimension) - rest()
      if missing > 0 {
        map.release(options.totalMaxMemory == nil ? missing / 3 * 5 : missing, directions: options.blockSize)
      }
      try map.agreeOnDirections()
    }
    let own = max(0, rest())
    return try communicator?.least(own) ?? own
  }

  private func heard<Result>(_ work: () throws(CetError) -> Result) throws(CetError) -> Result {
    guard communicator == nil else { return try work() }
    return try attended(host(), work)
  }

  /// Work on this map of which the monitor's thread hears while it waits. With a communicator it is done here, because the
  /// communicator's callbacks are the host's, too.
  public func attended<Result>(_ monitor: Monitor, _ work: () throws(CetError) -> Result) throws(CetError) -> Result {
    guard communicator == nil else { return try work() }
    return try monitor.attended { () throws(CetError) in try interruption.replaced(by: monitor.check, work) }
  }

  /// Work that applies the map as often as on every other process. What fails on one process between two products (a
  /// callback that cancels, memory) is told to the others, which wait in the next.
  public func together<Result>(_ work: () throws(CetError) -> Result) throws(CetError) -> Result {
    guard let communicator else { return try work() }
    let known = communicator.failures
    let result = Swift.Result(catching: work)
    if case .failure(let error) = result, communicator.failures > known { throw error }
    return try communicator.agree { try result.get() }
  }
}

extension CalibrationShare {
  /// Where this process's batches stand among all; throws on all processes when they do not fit together.
  init(_ communicator: Communicator, _ session: Session, _ slots: [ParameterSlot], _ options: CurvatureOptions) throws(CetError) {
    let choices = [
      LossKind.allCases.firstIndex(of: session.loss), CurvatureKind.allCases.firstIndex(of: options.curvature),
      slots.last.map { $0.offset + $0.count },
    ].map { Double($0 ?? 0) }
    let own = [session.batches.count, session.sampleCount, session.lastBatchIsFull ? 1 : 0].map { Double($0) }
    let all = try communicator.gather(own + choices)
    for (rank, found) in all.enumerated() where Array(found[3...]) != Array(all[0][3...]) {
      throw CetError(.invalidArgument, "communicator: rank \(rank) has another model, loss or curvature than rank 0")
    }
    let tree = ShardTree(batchCount: all.reduce(0) { $0 + Int($1[0]) })
    var first = 0
    for (rank, found) in all.enumerated() {
      let expected = tree.batches(ofRank: rank, of: communicator.size)
      let batches = first..<first + Int(found[0])
      guard batches == expected else {
        throw CetError(
          .invalidArgument,
          "communicator: rank \(rank) of \(communicator.size) has batches \(batches) of \(tree.batchCount), expected \(expected); cet_communicator_range says which samples are whose")
      }
      guard found[2] == 1 || rank == communicator.size - 1 else {
        throw CetError(
          .invalidArgument,
          "communicator: the last batch of rank \(rank) is not full; cet_communicator_range says which samples are whose")
      }
      first = batches.upperBound
    }
    let before = all[..<communicator.rank].reduce(0) { $0 + Int($1[0]) }
    self.init(
      communicator, firstBatch: before, batchCount: tree.batchCount, sampleCount: all.reduce(0) { $0 + Int($1[1]) })
  }
}

/// Samples of one of `size` processes, when all add the same `total` samples in batches of `batchSize`.
public func communicatorRange(total: Int, batchSize: Int, size: Int, rank: Int) throws(CetError) -> Range<Int> {
  guard batchSize > 0 else { throw CetError(.invalidArgument, "batch_size", expected: "a positive number", got: "\(batchSize)") }
  guard size >= 1, size <= ShardTree.leafCount else {
    throw CetError(.invalidArgument, "size", expected: "1 to \(ShardTree.leafCount) ranks", got: "\(size)")
  }
  guard rank >= 0, rank < size else { throw CetError(.invalidArgument, "rank", expected: "one below \(size)", got: "\(rank)") }
  let tree = ShardTree(batchCount: total / batchSize + (total % batchSize == 0 ? 0 : 1))
  guard tree.batchCount >= size else {
    throw CetError(
      .invalidArgument, "\(total) samples in batches of \(batchSize) are too few for \(size) ranks")
  }
  let batches = tree.batches(ofRank: rank, of: size)
  func first(_ batch: Int) -> Int { batch > total / batchSize ? total : min(total, batch * batchSize) }
  return first(batches.lowerBound)..<first(batches.upperBound)
}
