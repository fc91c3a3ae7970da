import CetGraph
import CetOperators
import CetTensor
import Glibc

public enum CurvatureKind: String, Sendable, CaseIterable {
  /// The exact second derivative of the loss.
  case hessian
  /// JᵀH_ℓJ with J the Jacobian of the output and H_ℓ the Hessian of the loss in the output.
  case gaussNewton = "gauss-newton"
}

/// The part of the calibration that this process has, in batches.
public struct CalibrationShare: Sendable {
  /// nil: this process has everything.
  public let communicator: Communicator?
  /// The number of this process's first batch among all.
  public let firstBatch: Int
  /// Of all processes.
  public let batchCount: Int
  public let sampleCount: Int

  public init(_ communicator: Communicator?, firstBatch: Int, batchCount: Int, sampleCount: Int) {
    self.communicator = communicator
    self.firstBatch = firstBatch
    self.batchCount = batchCount
    self.sampleCount = sampleCount
  }
}

/// The second derivative of the mean loss over calibration batches in the parameter vector, as a linear map.
///
/// The product is exact: the gradient is emitted as a program (reverse mode) and differentiated along v
/// (forward mode over reverse mode; Pearlmutter 1994). Batches run on all workers; their products are added in
/// double, in an order that depends on the number of batches alone (`ShardTree`), so that the result does not depend
/// on the number of threads, of processes, or of directions in a pass.
public final class CurvatureOperator: @unchecked Sendable {
  public let parameters: [ParameterSlot]
  /// Of all processes.
  public let sampleCount: Int
  public var dimension: Int { parameters.last.map { $0.offset + $0.count } ?? 0 }
  public private(set) var memory: CurvatureMemory
  public var batchCount: Int { batches.count }

  private let batches: [Batch]
  private let weights: [String: Tensor]
  private let programs: [Batch.Signature: LossProgram]
  private let references: [Tensor?]
  private var workers: Workers
  /// Share the elements of sums.
  private let adders: Workers
  private let context: ComputeContext
  private let cache: PreparedCache
  private let share: CalibrationShare
  private let tree: ShardTree
  private let sumMeter = ByteMeter()
  private let fixedBytes: Int
  /// Memory of the last sum, for the next.
  private let formerSum = Kept<ShardedSum>()

  /// - Parameters:
  ///   - parameters: initializers of `model` to differentiate; in the order of the parameter vector.
  ///   - output: graph output that the loss reads.
  ///   - references: reference output of every batch for `kl` and `mse`; nil takes the model's own output.
  ///   - memoryLimit: bytes for weights, samples and everything that is computed; what they leave keeps primals between
  ///     products. nil: no limit, and nothing is kept.
  ///   - share: nil: the batches are all there are.
  public init(
    model: Model, output: String, parameters: [ParameterSlot], batches: [Batch], loss: LossKind,
    curvature: CurvatureKind, references given: [Tensor]? = nil, workers: Workers, context: ComputeContext,
    memoryLimit: Int?, share asked: CalibrationShare? = nil
  ) throws(CetError) {
    self.parameters = parameters
    self.batches = batches
    self.context = context
    let own = batches.reduce(0) { $0 + $1.sampleCount }
    share = asked ?? CalibrationShare(nil, firstBatch: 0, batchCount: batches.count, sampleCount: own)
    tree = ShardTree(batchCount: share.batchCount)
    sampleCount = share.sampleCount
    guard own > 0 else { throw CetError(.invalidArgument, "the calibration data is empty") }
    let held = Dictionary(model.graph.initializers.map { ($0.name, $0.tensor) }, uniquingKeysWith: { $1 })
    var weights: [String: Tensor] = [:]
    for slot in parameters { weights[slot.name] = held[slot.name] }
    self.weights = weights
    // At the model's own output the loss has no gradient, and what the Hessian has beyond the Gauss–Newton matrix is
    // multiplied by it: the same matrix for two thirds of the work.
    let ownReference = given == nil && (loss == .kl || loss == .mse)
    let curvature = ownReference ? .gaussNewton : curvature
    var programs: [Batch.Signature: LossProgram] = [:]
    for batch in batches where programs[batch.signature] == nil {
      programs[batch.signature] = try LossProgram(
        model, batch: batch, output: output, parameters: parameters, loss: loss, curvature: curvature, context)
    }
    self.programs = programs

    let costs = programs.mapValues { (program: $0, memory: $0.memory) }
    func each(_ value: (LossProgram, (run: Int, kept: Int)) -> Int) -> [Int] {
      batches.map { costs[$0.signature].map { value($0.program, $0.memory) } ?? 0 }
    }
    let dimension = parameters.last.map { $0.offset + $0.count } ?? 0
    let live = tree.liveSums(ofRank: share.communicator?.rank ?? 0, of: share.communicator?.size ?? 1)
    // Buffers that making the programs has left behind go: runs need others.
    context.arena.trim()
    var known = Set(model.graph.initializers.map { ObjectIdentifier($0.tensor.storage) })
    let constants = programs.values.reduce(0) { $0 + $1.constants(besides: &known) }
    fixedBytes =
      model.graph.initializers.reduce(0) { $0 + $1.tensor.byteCount }
      + batches.reduce(0) { $0 + $1.inputs.values.reduce(0) { $0 + $1.byteCount } + ($1.labels?.byteCount ?? 0) }
    let referenceBytes = each { program, _ in program.referenceBytes }.reduce(0, +)
    memory = try CurvatureMemory(
      .init(
        fixed: fixedBytes + constants + referenceBytes, run: each { $1.run }, kept: each { $1.kept },
        sums: live * dimension * MemoryLayout<Double>.stride, product: dimension * MemoryLayout<Float>.stride),
      limit: memoryLimit, threads: workers.threads)
    adders = workers
    self.workers = memoryLimit == nil ? workers : workers.limited(to: memory.workers)
    cache = PreparedCache(count: memory.keptBatches)

    var references = [Tensor?](repeating: nil, count: batches.count)
    if let given, given.count == batches.count {
      references = given
    } else if loss == .kl || loss == .mse {
      try self.workers.ordered(batches.count) { index in
        try programs[batches[index].signature]?.forwardOutput(batches[index], weights, context)
      } combine: { index, tensor in
        references[index] = tensor
      }
    }
    self.references = references
  }

  /// Takes no more directions together than any other process does: a pass is made by all.
  public func agreeOnDirections() throws(CetError) {
    guard let communicator = share.communicator else { return }
    memory.directions = try communicator.least(memory.directions)
  }

  /// Holds up to `bytes` less, for products with `directions` vectors at a time, which stay the same and take longer.
  public func release(_ bytes: Int, directions: Int) {
    memory.release(bytes, directions: directions)
    workers = workers.limited(to: memory.workers)
    cache.keep(memory.keptBatches)
    context.arena.trim()
  }

  /// The most bytes that were held so far, of what `memory` predicts.
  public var peakBytes: Int { fixedBytes + context.arena.peakByteCount + sumMeter.peak }

  /// hv = H·v, the mean over samples, for `count` directions that lie one after the other. Each has `dimension`
  /// elements; v and hv do not overlap. Weights and primals are read once for several directions.
  public func apply(_ v: UnsafePointer<Float>, count: Int, _ hv: UnsafeMutablePointer<Float>) throws(CetError) {
    for start in stride(from: 0, to: count, by: memory.directions) {
      let end = min(start + memory.directions, count)
      try pass(v + start * dimension, count: end - start, hv + start * dimension)
    }
  }

  public func apply(_ v: UnsafePointer<Float>, _ hv: UnsafeMutablePointer<Float>) throws(CetError) {
    try apply(v, count: 1, hv)
  }

  /// One pass over the batches.
  private func pass(_ v: UnsafePointer<Float>, count: Int, _ hv: UnsafeMutablePointer<Float>) throws(CetError) {
    let n = dimension
    // With fewer batches than workers, the directions of a batch are shared among them.
    let parts = min(count, max(1, workers.threads / max(1, batches.count)))
    let step = (count + parts - 1) / parts
    try accumulate(into: hv, vectors: count, parts: parts) { index, part, program in
      let prepared = try self.cache.value(index) { () throws(CetError) in
        try program.prepare(program.feeds(self.batches[index], self.weights, self.references[index]), self.context)
      }
      return try (part * step..<min(count, (part + 1) * step)).map { direction in
        let products = try program.product(prepared, direction: self.tangents(v + direction * n), self.context)
        return Partial(vector: direction, slots: program.productSlots, tensors: products)
      }
    }
  }

  private func tangents(_ v: UnsafePointer<Float>) throws(CetError) -> [Tensor] {
    let keeper = Keeper()
    return try parameters.map { slot throws(CetError) in
      try Tensor(
        type: .float32, shape: slot.shape,
        storage: Storage(borrowing: v + slot.offset, byteCount: slot.count * 4, keeper: keeper))
    }
  }

  /// The gradient of the mean loss, `dimension` elements.
  public func gradient(_ result: UnsafeMutablePointer<Float>) throws(CetError) {
    try accumulate(into: result, vectors: 1, parts: 1) { index, _, program in
      let feeds = program.feeds(self.batches[index], self.weights, self.references[index])
      return [Partial(vector: 0, slots: program.gradientSlots, tensors: try program.gradient.run(feeds, self.context))]
    }
  }

  /// The gradient of every batch's summed loss by itself, in the order of the batches: per parameter index (only
  /// those with a non-zero gradient) a row-major tensor.
  public func batchGradients(_ each: (_ batch: Int, _ gradients: [Int: Tensor]) throws -> Void) throws(CetError) {
    try workers.ordered(batches.count) { index in
      let program = try self.program(index)
      let feeds = program.feeds(self.batches[index], self.weights, self.references[index])
      let tensors = try program.gradient.run(feeds, self.context).map { try $0.rowMajor(arena: self.context.arena) }
      return Dictionary(zip(program.gradientSlots, tensors), uniquingKeysWith: { $1 })
    } combine: { index, gradients in
      try each(index, gradients)
    }
  }

  /// The mean loss over samples.
  public func loss() throws(CetError) -> Double {
    let sum = ShardedSum(tree, count: 1, share.communicator)
    try share.communicator.agree {
      try workers.ordered(batches.count) { index in
        let program = try self.program(index)
        let feeds = program.feeds(self.batches[index], self.weights, self.references[index])
        let outputs = try program.loss.run(feeds, self.context)
        // A pointer keeps no tensor alive, and an array goes with its last use.
        return withExtendedLifetime(outputs) { Double(outputs[0].floats[0]) }
      } combine: { index, value in
        try sum.add(batch: self.share.firstBatch + index) { $0[0] += value }
      }
      try sum.close()
    }
    let total = try sum.total()
    return withExtendedLifetime(total) { ShardedSum.doubles(total)[0] } / Double(sampleCount)
  }

  private func program(_ index: Int) throws(CetError) -> LossProgram {
    guard let program = programs[batches[index].signature] else {
      throw CetError(.internal, "batch \(index) has no program")
    }
    return program
  }

  /// What a batch adds to one of the sums.
  private struct Partial {
    let vector: Int
    let slots: [Int]
    var tensors: [Tensor]
  }

  private func accumulate(
    into result: UnsafeMutablePointer<Float>, vectors: Int, parts: Int,
    _ compute: @escaping (_ batch: Int, _ part: Int, LossProgram) throws -> [Partial]
  ) throws(CetError) {
    let n = dimension
    var sum = formerSum.take()
    if sum?.count != vectors * n { sum = nil }
    let fresh = { ShardedSum(self.tree, count: vectors * n, self.share.communicator, meter: self.sumMeter, workers: self.adders) }
    try accumulate(into: result, sum ?? fresh(), parts, compute)
  }

  private func accumulate(
    into result: UnsafeMutablePointer<Float>, _ sum: ShardedSum, _ parts: Int,
    _ compute: @escaping (_ batch: Int, _ part: Int, LossProgram) throws -> [Partial]
  ) throws(CetError) {
    let n = dimension
    try share.communicator.agree {
      try workers.ordered(batches.count * parts) { index in
        let batch = index / parts
        return try compute(batch, index % parts, self.program(batch)).map { partial in
          var partial = partial
          partial.tensors = try partial.tensors.map { try $0.rowMajor(arena: self.context.arena) }
          return partial
        }
      } combine: { index, partials in
        try sum.add(batch: self.share.firstBatch + index / parts) { sums, isNew throws(CetError) in
          // Directions that other parts of a new sum bring are zero until then.
          if isNew, partials.count * n < sum.count { memset(sums, 0, sum.count * MemoryLayout<Double>.stride) }
          let isNew = isNew && partials.count * n == sum.count
          for partial in partials {
            try self.add(partial, to: sums + partial.vector * n, isNew: isNew)
          }
        }
      }
      try sum.close()
    }
    let total = try sum.total()
    try withExtendedLifetime(total) { () throws(CetError) in
      let sums = ShardedSum.doubles(total)
      let scale = 1 / Double(sampleCount)
      try adders.split(sum.count) {
        Elementwise.narrow(sums + $0.lowerBound, times: scale, into: result + $0.lowerBound, count: $0.count)
      }
    }
    sum.reuse(total)
    formerSum.put(sum)
  }

  /// - Parameter isNew: the memory holds nothing yet, and the sum begins at 0.
  private func add(_ partial: Partial, to sums: UnsafeMutablePointer<Double>, isNew: Bool) throws(CetError) {
    let tensors = Dictionary(zip(partial.slots, partial.tensors), uniquingKeysWith: { $1 })
    try adders.split(dimension) { range in
      for (index, slot) in parameters.enumerated() {
        let part = range.clamped(to: slot.offset..<slot.offset + slot.count)
        guard !part.isEmpty else { continue }
        let target = sums + part.lowerBound
        if let tensor = tensors[index] {
          let source = tensor.floats + (part.lowerBound - slot.offset)
          if isNew {
            Elementwise.widen(source, into: target, count: part.count)
          } else {
            Elementwise.accumulate(source, into: target, count: part.count)
          }
        } else if isNew {
          target.update(repeating: 0, count: part.count)
        }
      }
    }
  }
}

private final class Keeper {}

/// A place for one object that is used by one call at a time.
private final class Kept<Object: AnyObject>: @unchecked Sendable {
  private let lock = Lock()
  private var object: Object?

  func put(_ object: Object) { lock.withLock { self.object = object } }

  func take() -> Object? {
    lock.withLock {
      defer { object = nil }
      return object
    }
  }
}

/// What products of the first batches share.
private final class PreparedCache: @unchecked Sendable {
  private let lock = Lock()
  private var entries: [StagedProgram.Prepared?]

  init(count: Int) { entries = [StagedProgram.Prepared?](repeating: nil, count: count) }

  func value(_ index: Int, _ make: () throws(CetError) -> StagedProgram.Prepared) throws(CetError) -> StagedProgram.Prepared {
    if let entry = lock.withLock({ index < entries.count ? entries[index] : nil }) { return entry }
    let made = try make()
    lock.withLock { if index < entries.count { entries[index] = made } }
    return made
  }

  /// The first `count` only.
  func keep(_ count: Int) { lock.withLock { entries.removeLast(max(0, entries.count - count)) } }
}
