import CetAutodiff
import CetGraph
import CetLayers
import CetTensor

/// A model and calibration batches, ready for measurements: the layers, the unquantized weights and biases, and
/// the programs bound to the batches' shapes.
final class Engine: @unchecked Sendable {
  let layers: [LinearLayer]
  /// With every addable bias in place (zeros).
  let model: Model
  let index: GraphIndex
  let output: String
  let loss: LossKind
  private(set) var workers: Workers
  let context: ComputeContext
  /// Weights and biases of the layers, by initializer name.
  let weights: [String: Tensor]
  /// Bias initializer of each layer that has or can have one.
  let biasNames: [String?]
  let programs: ForwardPrograms
  /// See `reached`.
  let reach = BySignature<Set<Int>>()

  /// - Parameter biasFree: layers whose bias stays as it is, by index: none is added to them.
  init(
    _ found: LinearLayers, output: String, loss: LossKind, biasFree: Set<Int> = [], workers: Workers,
    context: ComputeContext
  ) throws {
    layers = found.layers
    self.output = output
    self.loss = loss
    self.workers = workers
    self.context = context
    var edit = ModelEdit()
    var names: [String?] = []
    for (index, layer) in layers.enumerated() {
      switch biasFree.contains(index) ? .none : layer.bias {
      case .present(let name): names.append(name)
      case .addable(let name, let replacement):
        edit.replacedNodes[layer.node.firstOutput] = replacement
        edit.initializers.append(
          Initializer(name: name, tensor: try Tensor.zeros(.float32, [layer.channels])))
        names.append(name)
      case .none: names.append(nil)
      }
    }
    biasNames = names
    let biased = try edit.applied(to: found.model)
    model = biased
    index = GraphIndex(biased.graph)
    let held = Dictionary(biased.graph.initializers.map { ($0.name, $0.tensor) }, uniquingKeysWith: { $1 })
    var weights: [String: Tensor] = [:]
    for name in layers.map(\.name) + names.compactMap({ $0 }) { weights[name] = held[name] }
    self.weights = weights
    programs = ForwardPrograms(biased, parameters: Array(weights.keys), context)
  }

  /// Before any work starts.
  func limit(threads: Int) { workers = Workers(threads: min(threads, workers.threads)) }

  /// What a layer's output is added to, where its rounding can make use of it.
  func residual(of layer: Int) -> Residual? {
    layers[layer].usesStatistics && biasNames[layer] != nil ? Residual(of: layers[layer], in: index) : nil
  }

  func weightValues(_ layer: LinearLayer) throws -> [Float] {
    guard let tensor = weights[layer.name] else { throw CetError(.internal, "no weights for '\(layer.name)'") }
    return try tensor.array(as: Float.self)
  }

  func biasValues(_ index: Int) throws -> [Float]? {
    guard let name = biasNames[index], let tensor = weights[name] else { return nil }
    return try tensor.array(as: Float.self)
  }

  /// The unquantized model's output of every batch.
  func referenceOutputs(_ batches: [Batch]) throws -> [Tensor] {
    var outputs: [Tensor] = []
    try workers.ordered(batches.count) { index in
      try self.programs.forward(batches[index], outputs: [self.output]).run(batches[index], weights: self.weights)[0].rowMajor()
    } combine: { _, tensor in
      outputs.append(tensor)
    }
    return outputs
  }

  /// Temperature at which quantized versions are compared with each other. Calibration samples are often ones that
  /// the model was trained on: at temperature 1 it is so certain of them that a handful decides the loss of all.
  static let judgingTemperature = 4.0

  /// Mean loss over samples with `changed` initializers.
  func meanLoss(
    _ batches: [Batch], references: [Tensor], changed: [String: Tensor], temperature: Double = 1
  ) throws -> Double {
    let losses = try batchLosses(batches, references: references, changed: changed, temperature: temperature)
    let total = zip(losses, batches).reduce(0) { $0 + $1.0 * Double($1.1.sampleCount) }
    return total / Double(max(1, batches.reduce(0) { $0 + $1.sampleCount }))
  }

  /// The same of every sample by itself, at temperature 1 and at the one that candidates are compared at.
  func sampleLosses(_ batches: [Batch], references: [Tensor], changed: [String: Tensor]) throws -> SampleLosses {
    var losses = SampleLosses()
    let merged = weights.merging(changed) { $1 }
    try workers.ordered(batches.count) { index in
      let batch = batches[index]
      let output = try self.programs.forward(batch, outputs: [self.output]).run(batch, weights: merged)[0]
      func values(_ temperature: Double) throws -> [Double] {
        try Loss.sampleValues(
          self.loss, output: output, reference: references[index], labels: batch.labels, samples: batch.sampleCount,
          temperature: temperature)
      }
      return SampleLosses(plain: try values(1), judged: try values(Engine.judgingTemperature))
    } combine: { _, part in
      losses.plain += part.plain
      losses.judged += part.judged
    }
    return losses
  }

  /// The same of every batch by itself.
  func batchLosses(
    _ batches: [Batch], references: [Tensor], changed: [String: Tensor], temperature: Double = 1
  ) throws -> [Double] {
    var losses: [Double] = []
    let merged = weights.merging(changed) { $1 }
    try workers.ordered(batches.count) { index in
      let output = try self.programs.forward(batches[index], outputs: [self.output]).run(batches[index], weights: merged)[0]
      return try Loss.value(
        self.loss, output: output, reference: references[index], labels: batches[index].labels, temperature: temperature)
    } combine: { index, value in
      losses.append(value / Double(max(1, batches[index].sampleCount)))
    }
    return losses
  }
}

/// Losses of samples, each by itself.
struct SampleLosses: Sendable {
  /// At temperature 1.
  var plain: [Double] = []
  /// At `Engine.judgingTemperature`.
  var judged: [Double] = []
}

/// Forward programs by batch shape and wanted outputs.
final class ForwardPrograms: @unchecked Sendable {
  private struct Key: Hashable {
    let signature: Batch.Signature
    let outputs: [String]
  }
  private let model: Model
  private let parameters: [String]
  private let context: ComputeContext
  private let lock = Lock()
  private var programs: [Key: ForwardProgram] = [:]

  init(_ model: Model, parameters: [String], _ context: ComputeContext) {
    self.model = model
    self.parameters = parameters
    self.context = context
  }

  func forward(_ batch: Batch, outputs: [String]) throws -> ForwardProgram {
    let key = Key(signature: batch.signature, outputs: outputs)
    return try lock.withLock {
      if let program = programs[key] { return program }
      let made = try ForwardProgram(model, batch: batch, parameters: parameters, outputs: outputs, context)
      programs[key] = made
      return made
    }
  }
}
