import CetGraph
import CetOperators
import CetTensor

/// Loss, gradient and curvature product of one batch shape.
final class LossProgram: Sendable {
  let loss: StagedProgram
  let gradient: StagedProgram
  /// Parameter indices of the gradient's outputs: those with a non-zero gradient.
  let gradientSlots: [Int]
  let productSlots: [Int]
  private let product: StagedProgram
  private let tangents: [Value]
  private let forward: StagedProgram
  private let sources: NamedSources
  private let labels: Value?
  private let reference: Value?

  init(
    _ model: Model, batch: Batch, output: String, parameters: [ParameterSlot], loss kind: LossKind,
    curvature: CurvatureKind, _ context: ComputeContext
  ) throws(CetError) {
    let bound = try BatchProgram(model, batch: batch, parameters: parameters.map(\.name), context)
    let e = bound.emitter
    sources = bound.sources
    let values = try parameters.map { slot throws(CetError) in try bound.parameter(slot.name) }
    let z = try bound.outputs([output])[0]
    labels = batch.labels.map { e.source(.input("labels"), TensorType(.int64, $0.shape)) }
    reference = kind == .kl || kind == .mse ? e.source(.input("reference output"), z.type) : nil
    let total = try Loss.emit(kind, output: z, labels: labels, reference: reference, e)
    let one = try e.scalar(1)
    forward = StagedProgram(bound.program, outputs: [z])
    loss = StagedProgram(bound.program, outputs: [total])
    let gradients = try Differentiate.cotangents(of: values, seeds: [total: one], e)
    gradientSlots = gradients.indices.filter { gradients[$0] != nil }
    gradient = StagedProgram(bound.program, outputs: gradients.compactMap { $0 })

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
    product = StagedProgram(bound.program, outputs: products.compactMap { $0 }, directions: tangents)
  }

  /// Bytes that one run of the product or the gradient takes, and how many of them a batch keeps when it is kept.
  var memory: (run: Int, kept: Int) {
    var walk = MemoryWalk(product.program)
    let kept = product.walk(&walk, changes: [tangents])
    for other in [gradient, loss, forward] { _ = other.walk(&walk) }
    // Kernels have scratch memory beyond what is walked through: a megabyte, and more in large convolutions.
    return (walk.byteCount + walk.byteCount / 16 + (1 << 20), kept)
  }

  /// Memory of what was computed while the program was made.
  func constants(besides held: inout Set<ObjectIdentifier>) -> Int {
    product.program.sources.reduce(0) { sum, source in
      guard case .constant(let tensor) = source, held.insert(ObjectIdentifier(tensor.storage)).inserted else { return sum }
      return sum + tensor.storage.byteCount
    }
  }

  /// Bytes of the output that the loss reads.
  var referenceBytes: Int { reference?.type.byteCount ?? 0 }

  func feeds(_ batch: Batch, _ weights: [String: Tensor], _ referenceOutput: Tensor?) -> [Int: Tensor] {
    var feeds = sources.feeds(batch, weights)
    if let labels { feeds[labels.id] = batch.labels }
    if let reference { feeds[reference.id] = referenceOutput }
    return feeds
  }

  func forwardOutput(_ batch: Batch, _ weights: [String: Tensor], _ context: ComputeContext) throws(CetError) -> Tensor {
    try forward.run(feeds(batch, weights, nil), context)[0]
  }

  /// What products in all directions share.
  func prepare(_ feeds: [Int: Tensor], _ context: ComputeContext) throws(CetError) -> StagedProgram.Prepared {
    try product.prepare(feeds, context)
  }

  /// - Parameter direction: one tensor a parameter.
  func product(_ prepared: StagedProgram.Prepared, direction: [Tensor], _ context: ComputeContext) throws(CetError) -> [Tensor] {
    let feeds = Dictionary(uniqueKeysWithValues: zip(tangents.map(\.id), direction))
    // What depends on the direction is linear in it: no kink is decided there.
    return try product.run(prepared, changed: feeds, context.fast)
  }
}
