import CetGraph
import CetLayers
import CetQuantize
import CetTensor

/// Turns quantized layers into an edit of the model file.
struct Rewriting {
  let found: LinearLayers
  /// The model as its file has it.
  let original: Model
  /// Bias initializer of each layer, where it has or can have one.
  let biasNames: [String?]

  /// - Parameter quantized: by layer index; layers that are missing stay as they are.
  func edit(_ quantized: [Int: QuantizedLayer], encoding: Encoding, metadata: [(key: String, value: String)]) throws -> ModelEdit {
    var edit = ModelEdit()
    edit.metadata = metadata
    let model = found.model
    var planes = PlaneEncoding(opset: max(model.opset, PlaneEncoding.minimumOpset), names: found.names)
    var dequantized = DequantizeEncoding(names: found.names)
    for (index, layer) in found.layers.enumerated() {
      guard let result = quantized[index] else { continue }
      // An initializer of the main graph takes the place of a Constant node, or of an initializer in a branch.
      if found.constantNodes.contains(layer.name) { edit.replacedNodes[layer.name] = [] }
      switch encoding {
      case .float:
        let values = try Tensor(result.tensor.dequantized(), shape: layer.shape)
        edit.initializers.append(Initializer(name: layer.name, tensor: try narrowed(values, to: layer.elementType)))
      case .planes:
        if !found.constantNodes.contains(layer.name) { edit.removedInitializers.insert(layer.name) }
        try planes.add(result.tensor, as: layer.elementType)
      case .qdq:
        if !found.constantNodes.contains(layer.name) { edit.removedInitializers.insert(layer.name) }
        try dequantized.add(result.tensor, as: layer.elementType, isMoved: layer.isMoved)
      }
      if let name = biasNames[index], let values = result.bias {
        let old = model.graph.initializers.first { $0.name == name }?.tensor.shape
        let bias = try Tensor(values, shape: old ?? [values.count])
        edit.initializers.append(Initializer(name: name, tensor: try narrowed(bias, to: layer.biasType)))
        if found.constantNodes.contains(name) { edit.replacedNodes[name] = [] }
        if case .addable(_, let replacement) = layer.bias { edit.replacedNodes[layer.node.firstOutput] = replacement }
      }
    }
    try replaceComputed(quantized, in: &edit)
    edit.initializers += planes.initializers + dequantized.initializers
    edit.leadingNodes = planes.nodes + dequantized.nodes
    edit.minimumOpset = planes.nodes.isEmpty ? dequantized.minimumOpset : PlaneEncoding.minimumOpset
    edit.minimumIRVersion = dequantized.minimumIRVersion
    let outward = found.inlining.outward(edit)
    try checkRaise(outward, encoding)
    return outward
  }

  /// Takes out what made the weights that are encoded now. Those that stay float but were computed from something that is
  /// changed stand in the file as they are.
  private func replaceComputed(_ quantized: [Int: QuantizedLayer], in edit: inout ModelEdit) throws {
    let encoded = Set(quantized.keys.map { found.layers[$0].name })
    let changed = edit.removedInitializers.union(edit.initializers.map(\.name)).union(encoded)
    let disturbed = found.folding.disturbed(by: changed, except: encoded)
    edit.initializers += disturbed.map { Initializer(name: $0.name, tensor: $0.tensor) }
    let removal = found.folding.removal(of: encoded.union(disturbed.map(\.name)))
    edit.removedInitializers.formUnion(removal.removedInitializers)
    edit.replacedNodes.merge(removal.replacedNodes) { $1 }
  }

  /// A node that the raised operator set has no form for is named with the way out.
  private func checkRaise(_ edit: ModelEdit, _ encoding: Encoding) throws {
    guard let minimum = edit.minimumOpset, minimum > original.opset else { return }
    do {
      _ = try edit.applied(to: original)
    } catch let error as CetError {
      throw CetError(
        error.code,
        "encoding '\(encoding.rawValue)' needs operator set \(minimum), \(error.message); encoding '\(original.opset < PlaneEncoding.minimumOpset ? "float" : "planes")' keeps operator set \(original.opset)")
    }
  }

  private func narrowed(_ tensor: Tensor, to type: ElementType) throws -> Tensor {
    try Conversion.convert(tensor, to: type, ComputeContext())
  }
}
