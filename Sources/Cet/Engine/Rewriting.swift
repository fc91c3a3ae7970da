import CetGraph
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
    guard encoding != .planes || found.model.opset >= 7 else {
      throw CetError(
        .unsupportedOperator, "encoding 'planes' needs opset 7 for its broadcasting, the model has \(found.model.opset): use 'float'")
    }
    let model = found.model
    var planes = PlaneEncoding(model)
    var dequantized = DequantizeEncoding(model)
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
    edit.initializers += planes.initializers + dequantized.initializers
    edit.leadingNodes = planes.nodes + dequantized.nodes
    (edit.minimumOpset, edit.minimumIRVersion) = (dequantized.minimumOpset, dequantized.minimumIRVersion)
    let outward = found.inlining.outward(edit)
    try checkRaise(outward)
    return outward
  }

  /// A node that the raised operator set has no form for is named with the way out.
  private func checkRaise(_ edit: ModelEdit) throws {
    guard let minimum = edit.minimumOpset, minimum > original.opset else { return }
    do {
      _ = try edit.applied(to: original)
    } catch let error as CetError {
      throw CetError(
        error.code,
        "encoding 'qdq' needs operator set \(minimum), \(error.message); encoding '\(original.opset < 7 ? "float" : "planes")' keeps operator set \(original.opset)")
    }
  }

  private func narrowed(_ tensor: Tensor, to type: ElementType) throws -> Tensor {
    try Conversion.convert(tensor, to: type, ComputeContext())
  }
}
