import CetGraph
import CetLayers
import CetQuantize
import CetTensor

/// Turns quantized layers into an edit of the model file. A class, because copies of so large a value are long code.
public final class Rewriting: Sendable {
  public let found: LinearLayers
  /// Bias initializer of each layer, where it has or can have one.
  public let biasNames: [String?]
  /// The model as its file has it.
  private let original: Model

  public init(_ found: LinearLayers, original: Model, biasNames: [String?]) {
    self.found = found
    self.original = original
    self.biasNames = biasNames
  }

  /// - Parameter contents: by layer index; layers that are missing stay as they are.
  public func edit(
    _ contents: [Int: LayerContent], activations: [WrittenActivation] = [], encoding: Encoding, runtime: Runtime? = nil,
    metadata: [(key: String, value: String)]
  ) throws(CetError) -> ModelEdit {
    var edit = ModelEdit()
    edit.metadata = metadata
    let model = found.model
    var written = encoding.rules.init(opset: max(model.opset, activations.neededOpset ?? 0), names: found.names, runtime: runtime)
    let indices = found.layers.indices.filter { contents[$0] != nil }
    let integers = activations.integerLayers(found.layers)
    let held = encoding.holdsIntegers ? Set(integers.keys) : []
    let others = indices.filter { !held.contains($0) }
    try check(others, contents, encoding, runtime)
    let shapes = Dictionary(model.graph.initializers.map { ($0.name, $0.tensor.shape) }, uniquingKeysWith: { first, _ in first })
    let made = try written.add(
      others.compactMap { index in
        contents[index].map { content in
          var weight = WrittenWeight(content, of: found.layers[index])
          weight.isBesideCodes = !activations.isEmpty
          return weight
        }
      })
    let tensors = Dictionary(uniqueKeysWithValues: zip(others, made))
    for index in indices {
      guard let content = contents[index] else { continue }
      let tensor = tensors[index] ?? nil
      let layer = found.layers[index]
      // An initializer of the main graph takes the place of a Constant node, or of an initializer in a branch.
      let isNode = found.constantNodes.contains(layer.name)
      if isNode { edit.replacedNodes[layer.name] = [] }
      if let tensor {
        edit.initializers.append(Initializer(name: layer.name, tensor: tensor))
      } else if !isNode {
        edit.removedInitializers.insert(layer.name)
      }
      if let name = biasNames[index], let values = content.bias {
        let bias = try Tensor(values, shape: shapes[name] ?? [values.count])
        edit.initializers.append(
          Initializer(name: name, tensor: try Conversion.convert(bias, to: layer.biasType, ComputeContext())))
        if found.constantNodes.contains(name) { edit.replacedNodes[name] = [] }
        if case .addable(_, let replacement) = layer.bias { edit.replacedNodes[layer.node.firstOutput] = replacement }
      }
    }
    try replaceComputed(Set(contents.keys.map { found.layers[$0].name }), in: &edit)
    for index in indices {
      let node = found.layers[index].node
      let standing = edit.replacedNodes[node.firstOutput] ?? [node]
      let replaced = standing.map { written.reading($0) }
      if replaced.contains(where: { $0 != nil }) {
        edit.replacedNodes[node.firstOutput] = zip(standing, replaced).flatMap { $1 ?? [$0] }
      }
      for place in found.layers[index].isMoved ? found.index.readers(of: found.layers[index].name) : [] {
        let mover = found.index.nodes[place]
        guard edit.replacedNodes[mover.firstOutput] == nil, let nodes = written.reading(mover) else { continue }
        edit.replacedNodes[mover.firstOutput] = nodes
      }
    }
    edit.domains = written.domains
    edit.initializers += written.initializers
    edit.leadingNodes = written.nodes
    edit.minimumOpset = written.minimumOpset
    edit.minimumIRVersion = written.minimumIRVersion
    if !activations.isEmpty { try round(activations, integers, contents, holdsCodes: encoding.holdsIntegers, in: &edit) }
    let outward = found.inlining.outward(edit)
    try checkRaise(outward, encoding, activations: !activations.isEmpty && written.minimumOpset ?? 0 <= original.opset)
    return outward
  }

  /// Throws where the runtime cannot do with the codes of one of the layers.
  private func check(_ indices: [Int], _ contents: [Int: LayerContent], _ encoding: Encoding, _ runtime: Runtime?) throws(CetError) {
    for index in indices {
      guard let form = contents[index]?.form else { continue }
      let granularity = form.blockSize > 0 ? Granularity.block(form.blockSize) : .perAxis
      guard let reason = encoding.obstacle(bits: form.bits, of: found.layers[index], granularity, runtime) else { continue }
      throw CetError(.invalidArgument, "\(reason): '\(form.name)'")
    }
  }

  /// What is rounded while the model runs, and the layers that are computed with integers then.
  private func round(
    _ activations: [WrittenActivation], _ integers: [Int: WrittenActivation], _ contents: [Int: LayerContent], holdsCodes: Bool,
    in edit: inout ModelEdit
  ) throws(CetError) {
    let nodes = integers.keys.filter { contents[$0] != nil }.map { found.layers[$0].node.firstOutput }
    var written = ActivationEncoding(found, names: NameScope(found.names, edit), integerNodes: Set(nodes))
    for activation in activations { try written.add(activation, to: &edit) }
    let plain = Set(original.graph.initializers.map(\.name))
    for (index, activation) in integers.sorted(by: { $0.key < $1.key }) {
      guard let content = contents[index] else { continue }
      let bias = try bias(index, content, of: plain)
      try written.add(found.layers[index], content, activation: activation, bias: bias, holdsCodes: holdsCodes, to: &edit)
      // Its values stand in the file once more.
      if let bias, !bias.isInitializer, found.constantNodes.contains(bias.name) { edit.replacedNodes[bias.name] = [] }
    }
    edit.initializers += written.initializers
    edit.leadingNodes += written.nodes
    edit.minimumOpset = [edit.minimumOpset, written.minimumOpset].compactMap { $0 }.max()
    edit.minimumIRVersion = [edit.minimumIRVersion, written.minimumIRVersion].compactMap { $0 }.max()
  }

  /// The bias that is added to a layer's product in the written file.
  /// - Parameter plain: initializers of the file's main graph. Other constants are made by nodes, behind the nodes that lead.
  private func bias(_ index: Int, _ content: LayerContent, of plain: Set<String>) throws(CetError) -> ActivationEncoding.Bias? {
    let layer = found.layers[index]
    guard let name = biasNames[index] ?? layer.ownBias else { return nil }
    let rank = found.index.constants[name]?.rank ?? 1
    if let values = content.bias { return .init(name: name, values: values, rank: rank, isInitializer: true) }
    guard layer.ownBias != nil, let tensor = found.index.constants[name] else { return nil }
    let values = try Conversion.convert(tensor, to: .float32, ComputeContext()).array(as: Float.self)
    return .init(name: name, values: values, rank: rank, isInitializer: plain.contains(name))
  }

  /// Takes out what made the weights that are encoded now. Those that stay float but were computed from something that is
  /// changed stand in the file as they are.
  private func replaceComputed(_ encoded: Set<String>, in edit: inout ModelEdit) throws(CetError) {
    let changed = edit.removedInitializers.union(edit.initializers.map(\.name)).union(encoded)
    let disturbed = found.folding.disturbed(by: changed, except: encoded)
    edit.initializers += disturbed.map { Initializer(name: $0.name, tensor: $0.tensor) }
    let removal = found.folding.removal(of: encoded.union(disturbed.map(\.name)))
    edit.removedInitializers.formUnion(removal.removedInitializers)
    edit.replacedNodes.merge(removal.replacedNodes) { $1 }
  }

  /// A node that the raised operator set has no form for is named with the way out.
  private func checkRaise(_ edit: ModelEdit, _ encoding: Encoding, activations: Bool) throws(CetError) {
    guard let minimum = edit.minimumOpset, minimum > original.opset else { return }
    do {
      _ = try edit.applied(to: original)
    } catch {
      guard !activations else {
        throw CetError(
          error.code,
          "activations need operator set \(minimum), \(error.message); without them the file keeps operator set \(original.opset)")
      }
      let other = Encoding.allCases.first { $0.rules.sufficientOpset <= original.opset } ?? .float
      throw CetError(
        error.code,
        "encoding '\(encoding.rawValue)' needs operator set \(minimum), \(error.message); encoding '\(other.rawValue)' keeps operator set \(original.opset)")
    }
  }
}
