import CetAutodiff
import CetGraph
import CetLayers
import CetQuantize
import CetTensor

/// A model ready for measurements: the layers, the unquantized weights and biases, and the programs, bound to the shapes of
/// the batches that it is measured on.
public final class BoundModel: Sendable {
  public let layers: [LinearLayer]
  /// With every addable bias in place (zeros).
  public let model: Model
  let index: GraphIndex
  public let output: String
  public let loss: LossKind
  public let workers: Workers
  public let context: ComputeContext
  /// Weights and biases of the layers, by initializer name; by the name of an activation that it stays as it is.
  public let weights: [String: Tensor]
  /// Bias initializer of each layer that has or can have one, and may be corrected.
  public let biasNames: [String?]
  /// Bias initializer that is replaced with each layer: one that stays as it is becomes whole numbers beside codes of a layer.
  private let replacedBiases: [String?]
  public let programs: ForwardPrograms
  /// What quantizing rounds beside weights.
  public let activations: RoundedActivations
  /// Of layers that the written file computes with integers, by index.
  private let inputScales: [Int: Float]
  /// See `reached`.
  let reach = Memo<Batch.Signature, Set<Int>>()

  /// - Parameters:
  ///   - biasFree: layers whose bias stays as it is, by index: none is added to them.
  ///   - activations: those that can be rounded while programs run; the unquantized network leaves them as they are.
  public init(
    _ found: LinearLayers, output: String, loss: LossKind, biasFree: Set<Int> = [], activations: RoundedActivations = .none,
    workers: Workers, context: ComputeContext
  ) throws(CetError) {
    self.activations = activations
    let scales = activations.inputScales(found.layers)
    inputScales = scales
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
    let replaced = names.enumerated().map { index, name in name ?? (scales[index] == nil ? nil : found.layers[index].ownBias) }
    replacedBiases = replaced
    let biased = try edit.applied(to: found.model)
    model = biased
    index = GraphIndex(biased.graph)
    let held = Dictionary(biased.graph.initializers.map { ($0.name, $0.tensor) }, uniquingKeysWith: { $1 })
    var weights: [String: Tensor] = [:]
    for name in layers.map(\.name) + replaced.compactMap({ $0 }) { weights[name] = held[name] }
    programs = ForwardPrograms(biased, parameters: Array(weights.keys), grids: activations.gridNames, context)
    for activation in activations.all { weights[activation.name] = try ActivationGrid.none() }
    self.weights = weights
  }

  /// What a layer's output is added to, where its rounding can make use of it.
  func residual(of layer: Int) -> Residual? {
    layers[layer].usesStatistics && biasNames[layer] != nil ? Residual(of: layers[layer], in: index) : nil
  }

  public func weightValues(_ layer: LinearLayer) throws(CetError) -> [Float] {
    guard let tensor = weights[layer.name] else { throw CetError(.internal, "no weights for '\(layer.name)'") }
    return try tensor.array(as: Float.self)
  }

  func biasValues(_ index: Int) throws(CetError) -> [Float]? {
    guard let name = biasNames[index], let tensor = weights[name] else { return nil }
    return try tensor.array(as: Float.self)
  }

  /// The replaced initializers of a quantized layer.
  public func replacement(_ index: Int, _ quantized: QuantizedLayer) throws(CetError) -> [String: Tensor] {
    let layer = layers[index]
    if let scale = inputScales[index] { return try integerReplacement(index, quantized, inputScale: scale) }
    let values = try Tensor(quantized.tensor.dequantized(), shape: layer.shape)
    var changed = [layer.name: try stored(values, as: layer.elementType)]
    if let name = biasNames[index], let bias = quantized.bias, let old = weights[name] {
      changed[name] = try stored(Tensor(bias, shape: old.shape), as: layer.biasType)
    }
    return changed
  }

  /// Of a layer that is computed with integers: what it computes, as floats.
  private func integerReplacement(_ index: Int, _ quantized: QuantizedLayer, inputScale: Float) throws(CetError) -> [String: Tensor] {
    let (layer, tensor) = (layers[index], quantized.tensor)
    let old = replacedBiases[index].flatMap { weights[$0] }
    let bias = try old.map { old throws(CetError) -> [Float] in
      guard let corrected = quantized.bias else { return try old.array(as: Float.self) }
      return corrected
    }
    let integers = IntegerWeights(tensor, bias: bias, inputScale: inputScale)
    var changed = [layer.name: try Tensor(integers.rounded(tensor.dequantized(), tensor.order), shape: layer.shape)]
    if let name = replacedBiases[index], let old, let bias {
      changed[name] = try Tensor(integers.rounded(bias: bias, inputScale: inputScale), shape: old.shape)
    }
    return changed
  }

  /// The grids that activations are rounded to, by name.
  func grids() throws(CetError) -> [String: Tensor] {
    try Dictionary(uniqueKeysWithValues: activations.grids.map { name, grid throws(CetError) in (name, try grid.tensor()) })
  }

  /// What quantized layers, by layer index, and the activations that are rounded with them bring.
  public func replacements(_ layers: [Int: QuantizedLayer]) throws(CetError) -> [String: Tensor] {
    var changed = try grids()
    for (index, layer) in layers { changed.merge(try replacement(index, layer)) { $1 } }
    return changed
  }

  /// The values that are left of float32 ones in the file's type.
  private func stored(_ tensor: Tensor, as type: ElementType) throws(CetError) -> Tensor {
    guard type != .float32 else { return tensor }
    return try Conversion.convert(Conversion.convert(tensor, to: type, context), to: .float32, context)
  }
}
