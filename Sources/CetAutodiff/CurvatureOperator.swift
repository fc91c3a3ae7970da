import CetGraph
import CetOperators
import CetTensor

public enum CurvatureKind: String, Sendable, CaseIterable {
  /// The exact second derivative of the loss.
  case hessian
  /// JᵀH_ℓJ with J the Jacobian of the output and H_ℓ the Hessian of the loss in the output.
  case gaussNewton = "gauss-newton"
}

/// The second derivative of the mean loss over calibration batches in the parameter vector, as a linear map.
///
/// The product is exact: the gradient is emitted as a program (reverse mode) and differentiated along v
/// (forward mode over reverse mode; Pearlmutter 1994). Batches run on all workers; their products are added in
/// double, in the order of the batches, so that the result does not depend on the number of threads.
public final class CurvatureOperator: @unchecked Sendable {
  public let parameters: [ParameterSlot]
  public let sampleCount: Int
  public var dimension: Int { parameters.last.map { $0.offset + $0.count } ?? 0 }

  private let batches: [Batch]
  private let weights: [String: Tensor]
  private let programs: [Batch.Signature: LossProgram]
  private let references: [Tensor?]
  private let workers: Workers
  private let context: ComputeContext
  private let cache: PreparedCache

  /// - Parameters:
  ///   - parameters: initializers of `model` to differentiate; in the order of the parameter vector.
  ///   - output: graph output that the loss reads.
  ///   - references: reference output of every batch for `kl` and `mse`; nil takes the model's own output.
  ///   - cacheBytes: memory for what products share (primals, cotangents); the rest is recomputed.
  public init(
    model: Model, output: String, parameters: [ParameterSlot], batches: [Batch], loss: LossKind,
    curvature: CurvatureKind, references given: [Tensor]? = nil, workers: Workers, context: ComputeContext,
    cacheBytes: Int
  ) throws {
    self.parameters = parameters
    self.batches = batches
    self.workers = workers
    self.context = context
    sampleCount = batches.reduce(0) { $0 + $1.sampleCount }
    guard sampleCount > 0 else { throw CetError(.invalidArgument, "the calibration data is empty") }
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
    cache = PreparedCache(count: batches.count, capacity: cacheBytes)
    var references = [Tensor?](repeating: nil, count: batches.count)
    if let given, given.count == batches.count {
      references = given
    } else if loss == .kl || loss == .mse {
      try workers.ordered(batches.count) { index in
        try programs[batches[index].signature]?.forwardOutput(batches[index], weights, context)
      } combine: { index, tensor in
        references[index] = tensor
      }
    }
    self.references = references
  }

  /// hv = H·v, the mean over samples. Both have `dimension` elements and may not overlap.
  public func apply(
    _ v: UnsafePointer<Float>, _ hv: UnsafeMutablePointer<Float>, progress: ((Int) throws -> Void)? = nil
  ) throws {
    let keeper = Keeper()
    let tangents = try parameters.map { slot in
      try Tensor(
        type: .float32, shape: slot.shape,
        storage: Storage(borrowing: v + slot.offset, byteCount: slot.count * 4, keeper: keeper))
    }
    try accumulate(into: hv, progress: progress) { index, program in
      let prepared = try self.cache.value(index) {
        try program.product.prepare(program.feeds(self.batches[index], self.weights, self.references[index]), self.context)
      }
      var feeds: [Int: Tensor] = [:]
      for (value, tangent) in zip(program.tangents, tangents) { feeds[value.id] = tangent }
      return (program.productSlots, try program.product.run(prepared, feeds: feeds, self.context))
    }
  }

  /// The gradient of the mean loss, `dimension` elements.
  public func gradient(_ result: UnsafeMutablePointer<Float>) throws {
    try accumulate(into: result, progress: nil) { index, program in
      let feeds = program.feeds(self.batches[index], self.weights, self.references[index])
      return (program.gradientSlots, try program.gradient.run(feeds, self.context))
    }
  }

  /// The gradient of every batch's summed loss by itself, in the order of the batches: per parameter index (only
  /// those with a non-zero gradient) a row-major tensor.
  public func batchGradients(_ each: (_ batch: Int, _ gradients: [Int: Tensor]) throws -> Void) throws {
    try workers.ordered(batches.count) { index in
      guard let program = self.programs[self.batches[index].signature] else {
        throw CetError(.internal, "batch \(index) has no program")
      }
      let feeds = program.feeds(self.batches[index], self.weights, self.references[index])
      let tensors = try program.gradient.run(feeds, self.context).map { try $0.rowMajor(arena: self.context.arena) }
      return Dictionary(zip(program.gradientSlots, tensors), uniquingKeysWith: { $1 })
    } combine: { index, gradients in
      try each(index, gradients)
    }
  }

  /// The mean loss over samples.
  public func loss() throws -> Double {
    var total = 0.0
    try workers.ordered(batches.count) { index in
      guard let program = self.programs[self.batches[index].signature] else { return 0 }
      let feeds = program.feeds(self.batches[index], self.weights, self.references[index])
      let outputs = try program.loss.run(feeds, self.context)
      // A pointer keeps no tensor alive, and an array goes with its last use.
      return withExtendedLifetime(outputs) { Double(outputs[0].floats[0]) }
    } combine: { _, value in
      total += value
    }
    return total / Double(sampleCount)
  }

  private func accumulate(
    into result: UnsafeMutablePointer<Float>, progress: ((Int) throws -> Void)?,
    _ compute: @escaping (Int, LossProgram) throws -> ([Int], [Tensor])
  ) throws {
    let count = dimension
    let sums = UnsafeMutablePointer<Double>.allocate(capacity: max(count, 1))
    sums.initialize(repeating: 0, count: max(count, 1))
    defer { sums.deallocate() }
    try workers.ordered(batches.count, progress: progress) { index in
      guard let program = self.programs[self.batches[index].signature] else {
        throw CetError(.internal, "batch \(index) has no program")
      }
      let (slots, tensors) = try compute(index, program)
      return (slots, try tensors.map { try $0.rowMajor(arena: self.context.arena) })
    } combine: { _, partial in
      for (slot, tensor) in zip(partial.0, partial.1) {
        let target = sums + self.parameters[slot].offset
        Elementwise.accumulate(tensor.floats, into: target, count: tensor.count)
      }
    }
    let scale = 1 / Double(sampleCount)
    for i in 0..<count { result[i] = Float(sums[i] * scale) }
  }
}

private final class Keeper {}

/// Loss, gradient and curvature product of one batch shape.
private final class LossProgram: Sendable {
  let loss: Executable
  let gradient: Executable
  /// Parameter indices of the gradient's outputs: those with a non-zero gradient.
  let gradientSlots: [Int]
  let product: Executable
  let productSlots: [Int]
  let tangents: [Value]
  private let forward: Executable
  private let inputs: [String: Value]
  private let labels: Value?
  private let reference: Value?
  private let parameterValues: [(name: String, value: Value)]

  init(
    _ model: Model, batch: Batch, output: String, parameters: [ParameterSlot], loss kind: LossKind,
    curvature: CurvatureKind, _ context: ComputeContext
  ) throws {
    let bound = try BatchProgram(
      model, batch: batch, parameters: parameters.map(\.name), context)
    let e = bound.emitter
    inputs = bound.inputs
    parameterValues = try parameters.map { slot in
      guard let value = bound.parameters[slot.name] else {
        throw CetError(.internal, "initializer '\(slot.name)' is not in the model")
      }
      return (slot.name, value)
    }
    let values = parameterValues.map(\.value)
    let z = try bound.values([output])[0]
    labels = batch.labels.map { e.source(.input("labels"), TensorType(.int64, $0.shape)) }
    reference = kind == .kl || kind == .mse ? e.source(.input("reference output"), z.type) : nil
    let total = try Loss.emit(kind, output: z, labels: labels, reference: reference, e)
    let one = try e.scalar(1)
    forward = Executable(bound.program, outputs: [z])
    loss = Executable(bound.program, outputs: [total])
    let gradients = try Differentiate.cotangents(of: values, seeds: [total: one], e)
    gradientSlots = gradients.indices.filter { gradients[$0] != nil }
    gradient = Executable(bound.program, outputs: gradients.compactMap { $0 })

    tangents = zip(parameters, values).map { e.source(.tangent($0.name), $1.type) }
    let directions = Dictionary(uniqueKeysWithValues: zip(values, tangents))
    let products: [Value?]
    switch curvature {
    case .hessian:
      let targets = gradients.compactMap { $0 }
      let moved = try Differentiate.tangents(of: targets, along: directions, e)
      var all = [Value?](repeating: nil, count: values.count)
      for (slot, value) in zip(gradientSlots, moved) { all[slot] = value }
      products = all
    case .gaussNewton:
      // u = H_ℓ·(J·v), then Jᵀ·u
      let outputTangent = try Differentiate.tangents(of: [z], along: directions, e)[0]
      let outputGradient = try Differentiate.cotangents(of: [z], seeds: [total: one], e)[0]
      if let outputTangent, let outputGradient,
        let u = try Differentiate.tangents(of: [outputGradient], along: [z: outputTangent], e)[0]
      {
        products = try Differentiate.cotangents(of: values, seeds: [z: u], e)
      } else {
        products = values.map { _ in nil }
      }
    }
    productSlots = products.indices.filter { products[$0] != nil }
    product = Executable(bound.program, outputs: products.compactMap { $0 }, lateSources: tangents)
  }

  func feeds(_ batch: Batch, _ weights: [String: Tensor], _ referenceOutput: Tensor?) -> [Int: Tensor] {
    var feeds: [Int: Tensor] = [:]
    for (name, value) in inputs { feeds[value.id] = batch.inputs[name] }
    for (name, value) in parameterValues { feeds[value.id] = weights[name] }
    if let labels { feeds[labels.id] = batch.labels }
    if let reference { feeds[reference.id] = referenceOutput }
    return feeds
  }

  func forwardOutput(_ batch: Batch, _ weights: [String: Tensor], _ context: ComputeContext) throws -> Tensor {
    try forward.run(feeds(batch, weights, nil), context)[0]
  }
}

/// Keeps what products share, first batches first, up to a number of bytes.
private final class PreparedCache: @unchecked Sendable {
  private let lock = Lock()
  private var entries: [Executable.Prepared?]
  private var room: Int

  init(count: Int, capacity: Int) {
    entries = [Executable.Prepared?](repeating: nil, count: count)
    room = capacity
  }

  func value(_ index: Int, _ make: () throws -> Executable.Prepared) throws -> Executable.Prepared {
    if let entry = lock.withLock({ entries[index] }) { return entry }
    let made = try make()
    lock.withLock {
      if made.byteCount <= room {
        room -= made.byteCount
        entries[index] = made
      }
    }
    return made
  }
}
