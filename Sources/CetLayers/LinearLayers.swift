import CetFormats
import CetGraph
import CetOperators
import CetTensor

/// Finds the weights that can be quantized, in the order in which the graph first reads them: float constants of rank
/// 2 or more that are the weight of Conv, ConvTranspose, Gemm, MatMul, Einsum or a recurrent network, or the table of Gather,
/// GatherND or GatherElements, in the main graph, in branches and bodies or in functions, as they are, after operators that only
/// move elements, or computed from constants (`ConstantFolding`).
public final class LinearLayers: Sendable {
  public let layers: [LinearLayer]
  /// The values of `model` before it is widened.
  public let index: GraphIndex
  /// The model as the engine runs it: in float32, with all constants that count here as initializers of the main graph.
  public let model: Model
  /// Initializers of `model` that Constant nodes hold in the file.
  public let constantNodes: Set<String>
  /// Functions are looked into as if their nodes stood in place of the calls.
  public let inlining: Inlining
  public let folding: ConstantFolding
  private let finite: FiniteWeights
  /// What this library wrote about the model, if it did.
  public let record: CompressionRecord?
  /// What is taken in the file, in `model` and by the biases that may be added.
  public let names: NameScope

  public init(_ file: Model) throws(CetError) {
    finite = FiniteWeights()
    inlining = Inlining(file)
    record = CompressionRecord(file.metadata)
    let bytes = inlining.model.graph.initializers.reduce(0) { Int.saturatingSum($0, $1.tensor.byteCount) }
    let encoded = Set((record?.bits ?? [:]).keys)
    let context = ComputeContext(
      memoryLimit: memoryLimit(nil), workLimit: ConstantFolding.workLimit(byteCount: bytes, hasOwnCodes: !encoded.isEmpty),
      interruption: Interruption(FileWatch.check))
    folding = try ConstantFolding(inlining.model, encoded: encoded, context)
    let original = try folding.applied(to: inlining.model)
    let index = folding.weights.isEmpty ? folding.index : GraphIndex(original.graph)
    self.index = index
    var moved = ModelEdit()
    for name in index.inner.sorted() {
      guard let tensor = index.constants[name], tensor.type.isWeight, tensor.rank >= 1, !index.isOutput(name) else { continue }
      if index.constantNodes.contains(name) { moved.replacedNodes[name] = [] }
      moved.initializers.append(Initializer(name: name, tensor: tensor))
    }
    constantNodes = Set(moved.replacedNodes.keys)
    model = try moved.applied(to: original).widened()

    var finder = LayerFinder(index: index, names: inlining.names, decoders: folding.left.reduce(into: []) { $0.formUnion($1.producers) })
    for place in index.nodes.indices {
      try FileWatch.check()
      finder.visit(place)
    }
    layers = finder.found
    names = finder.names
  }

  /// The same layers in a model with one more node at its end.
  public init(_ other: LinearLayers, adding node: Node) {
    layers = other.layers
    index = other.index
    var model = other.model
    model.graph.nodes.append(node)
    self.model = model
    constantNodes = other.constantNodes
    inlining = other.inlining
    folding = other.folding
    finite = other.finite
    record = other.record
    names = other.names
  }
}

extension LinearLayers {
  /// Why a layer's weight stays float whatever a plan wants; nil where it can be quantized.
  public func obstacle(_ layer: Int) -> String? { finite.obstacle(layers[layer].name, index.constants[layers[layer].name]) }
}

private struct LayerFinder {
  let index: GraphIndex
  private(set) var found: [LinearLayer] = []
  private(set) var names: NameScope
  private var seen: Set<String> = []
  /// Operands that were followed to their constants, with the number of operators between them and the layer.
  private var followed: [String: Int] = [:]
  /// What recurrent weights are put together from, by node and slot.
  private var origins: [[Int]: RowOrigins?] = [:]
  /// Nodes that make weights of constants, by their first outputs.
  private let decoders: Set<String>

  init(index: GraphIndex, names: NameScope, decoders: Set<String>) {
    self.index = index
    self.names = names
    self.decoders = decoders
  }

  mutating func visit(_ place: Int) {
    let node = index.nodes[place]
    // All of these operators need two operands: a node with fewer is in order nowhere and no layer.
    guard !node.input(0).isEmpty, !node.input(1).isEmpty, !decoders.contains(node.firstOutput) else { return }
    for slot in node.weightSlots where index.isWeighted(node, slot) {
      for source in sources(of: node.inputs[slot]) {
        guard let tensor = index.constants[source.name], tensor.type.isWeight, tensor.rank >= 2, tensor.count > 0,
          !index.isOutput(source.name), seen.insert(source.name).inserted
        else { continue }
        found.append(layer(place, slot, source, tensor))
      }
      // One constant operand of a product is its weight.
      if node.operatorType == "MatMul", index.constants[node.inputs[slot]] != nil { break }
    }
  }

  // MARK: From the operand to its constants

  private struct Source {
    enum Path { case direct, transposed, other }
    var name: String
    var path: Path
    /// What the elements are cast to on the way.
    var cast: ElementType?
  }

  /// The constants whose elements an operand has, through operators that move elements and compute nothing.
  private mutating func sources(
    of operand: String, path: Source.Path = .direct, cast: ElementType? = nil, depth: Int = 0
  ) -> [Source] {
    if index.constants[operand] != nil { return [Source(name: operand, path: path, cast: cast)] }
    guard depth < 16, let producer = index.producer(of: operand), let moved = index.nodes[producer].movedInputs else { return [] }
    // A constant counts where it is found first.
    if let before = followed[operand], before <= depth { return [] }
    followed[operand] = depth
    let node = index.nodes[producer]
    var (next, type) = (Source.Path.other, cast)
    switch node.operatorType {
    case "Identity": next = path
    case "Cast":
      next = path
      type = cast ?? ElementType(rawValue: Int32(truncatingIfNeeded: int(node, "to", 0)))
    case "Transpose":
      let isOnlyReader = index.readers(of: operand).count == 1
      if isOnlyReader, path == .direct, isSwap(node) { next = .transposed }
    default: break
    }
    var found: [Source] = []
    for name in moved { found += sources(of: name, path: next, cast: type, depth: depth + 1) }
    return found
  }

  private func isSwap(_ node: Node) -> Bool {
    guard case .ints(let order)? = node.attributes["perm"] else { return true }
    return order == [1, 0]
  }

  // MARK: The layer

  private mutating func layer(_ place: Int, _ slot: Int, _ source: Source, _ tensor: Tensor) -> LinearLayer {
    let node = index.nodes[place]
    let readers = index.readers(of: source.name)
    let isPlain = readers.count == 1 && source.path != .other
    var (kind, axis) = form(node, slot, tensor.shape, source.path, isPlain: isPlain)
    if !isPlain, ["LSTM", "GRU", "RNN"].contains(node.operatorType),
      let found = recurrentOrigins(place, slot), let rows = RecurrentRows.kind(source.name, tensor.shape, found, place: place, slot: slot, index)
    {
      (kind, axis) = (rows, tensor.rank - 2)
    }
    var input: String?
    switch kind {
    case .table, .other, .blocks: break
    default: input = node.input(slot == 0 ? 1 : 0)
    }
    var bias: LinearLayer.Bias = isPlain && kind != .leftMatrix ? bias(node, tensor, source.name, axis) : .none
    let isReplaceable = index.producer(of: node.firstOutput) != nil
    if case .addable = bias, !isReplaceable { bias = .none }
    // Of these the output is more than the product.
    let isProduct = !["LSTM", "GRU", "RNN", "Attention", "FusedConv", "FusedGemm"].contains(node.operatorType)
    return LinearLayer(
      name: source.name, shape: tensor.shape, elementType: tensor.type, kind: kind, axis: axis, node: node, input: input,
      output: isProduct && kind != .leftMatrix ? node.outputs.first ?? "" : "",
      bias: bias, biasType: biasType(bias) ?? source.cast ?? tensor.type,
      isMoved: readers.contains { index.nodes[$0].weightSlots.isEmpty }, orientations: orientations(source.name, readers),
      isRepeated: index.isRepeated(place), isReplaceable: isReplaceable)
  }

  /// In how many ways products read a weight; nodes that move it are one way more.
  private func orientations(_ name: String, _ readers: [Int]) -> Int {
    var found: Set<String> = []
    for place in readers {
      let node = index.nodes[place]
      if node.weightSlots.isEmpty { found.insert("moved") }
      guard ["MatMul", "Gemm"].contains(node.operatorType) else { continue }
      for slot in 0..<2 where node.input(slot) == name {
        found.insert("\(slot)\(int(node, slot == 0 ? "transA" : "transB", 0))")
      }
    }
    return found.count
  }

  private mutating func recurrentOrigins(_ place: Int, _ slot: Int) -> RowOrigins? {
    if let known = origins[[place, slot]] { return known }
    let found = RowOrigins(of: index.nodes[place].input(slot), index)
    origins[[place, slot]] = .some(found)
    return found
  }

  private func biasType(_ bias: LinearLayer.Bias) -> ElementType? {
    if case .present(let name) = bias { index.constants[name]?.type } else { nil }
  }

  private func int(_ node: Node, _ name: String, _ standard: Int) -> Int {
    if case .int(let value) = node.attributes[name] { Int(value) } else { standard }
  }

  private func form(
    _ node: Node, _ slot: Int, _ shape: [Int], _ path: Source.Path, isPlain: Bool
  ) -> (LinearLayer.Kind, Int) {
    let groups = int(node, "group", 1)
    /// [K, N], or [N, K] when the operator or a Transpose before it turns it round.
    func matrix(turned: Bool, _ isUsual: Bool = true) -> (LinearLayer.Kind, Int) {
      let rowsFirst = turned != (path == .transposed)
      return (isPlain && isUsual && shape.count == 2 ? .matrix(rowsFirst: rowsFirst) : .other, rowsFirst ? 0 : shape.count - 1)
    }
    if path == .other { return (.other, 0) }
    switch node.operatorType {
    case "Conv", "FusedConv": return (isPlain && path == .direct ? .convolution(groups: groups) : .other, 0)
    case "ConvTranspose": return (isPlain && path == .direct ? .transposedConvolution(groups: groups) : .other, 1)
    case "Gemm", "FusedGemm": return matrix(turned: int(node, "transB", 0) != 0, int(node, "transA", 0) == 0)
    case "FusedMatMul":
      let isUsual = int(node, "transA", 0) == 0 && int(node, "transBatchA", 0) == 0 && int(node, "transBatchB", 0) == 0
      return matrix(turned: int(node, "transB", 0) != 0, isUsual)
    case "Attention": return matrix(turned: false)
    case "Einsum": return (.other, min(node.einsumAxis(slot), max(0, shape.count - 1)))
    case "GatherND", "GatherElements": return (.other, 0)
    case "Gather": return (isPlain && shape.count == 2 && int(node, "axis", 0) == 0 ? .table : .other, 0)
    case "LSTM", "GRU", "RNN":
      guard isPlain, path == .direct, shape.count == 3 else { return (.other, shape.count == 3 ? 1 : 0) }
      return (recurrent(node, slot, directions: shape[0]), 1)
    default:  // MatMul
      guard slot == 0 else { return matrix(turned: false) }
      return (isPlain && shape.count == 2 && path == .direct ? .leftMatrix : .other, path == .direct ? max(0, shape.count - 2) : shape.count - 1)
    }
  }

  /// [directions, gates · hidden, inputs or hidden]: each direction is a block.
  private func recurrent(_ node: Node, _ slot: Int, directions: Int) -> LinearLayer.Kind {
    if slot == 1 { return directions == 1 ? .matrix(rowsFirst: true) : .blocks([(0..<directions).map { _ in node.input(0) }]) }
    func states(gate: Int) -> [String] { (0..<directions).map { recurrentStates(node, direction: $0, gate: gate) } }
    // The third gate of a GRU may multiply the reset state.
    return .blocks(node.operatorType == "GRU" ? [states(gate: 0), states(gate: 0), states(gate: 2)] : [states(gate: 0)])
  }

  private mutating func bias(_ node: Node, _ weight: Tensor, _ weightName: String, _ axis: Int) -> LinearLayer.Bias {
    let channels = weight.shape[axis]
    let index = index
    func isOwn(_ name: String) -> Bool {
      guard let tensor = index.constants[name] else { return false }
      return tensor.type.isWeight && tensor.count == channels && index.readers(of: name).count == 1 && !index.isOutput(name)
        && firstNonFinite(tensor) == nil
    }
    func added() -> LinearLayer.Bias {
      let name = names.takeValue("\(weightName).cet.bias")
      var replacement = node
      replacement.inputs = [node.input(0), node.input(1), name] + node.inputs.dropFirst(3)
      return .addable(name: name, replacement: [replacement])
    }
    switch node.operatorType {
    case "Conv", "FusedConv":
      if node.input(2).isEmpty { return added() }
      return isOwn(node.input(2)) ? .present(name: node.input(2)) : .none
    case "ConvTranspose":
      guard int(node, "group", 1) == 1 else { return .none }
      if node.input(2).isEmpty { return added() }
      return isOwn(node.input(2)) ? .present(name: node.input(2)) : .none
    case "Gemm", "FusedGemm":
      if case .float(let beta) = node.attributes["beta"], beta != 1 { return .none }
      if case .float(let alpha) = node.attributes["alpha"], alpha != 1 { return .none }
      // Before opset 11 the operand C is required, so it is there.
      if node.input(2).isEmpty { return added() }
      return isOwn(node.input(2)) && index.constants[node.input(2)]?.rank == 1 ? .present(name: node.input(2)) : .none
    case "Attention":
      return isOwn(node.input(2)) ? .present(name: node.input(2)) : .none
    case "MatMul":
      let output = node.output(0)
      guard weight.rank == 2, !output.isEmpty else { return .none }
      // The bias is the Add behind the product, if that is all that reads it.
      let readers = index.readers(of: output)
      if readers.count == 1, !index.isOutput(output) {
        let next = index.nodes[readers[0]]
        if next.operatorType == "Add", let other = next.inputs.first(where: { $0 != output }), isOwn(other),
          index.constants[other]?.shape.last == channels
        {
          return .present(name: other)
        }
      }
      let name = names.takeValue("\(weightName).cet.bias")
      var product = node
      product.outputs[0] = names.takeValue("\(output).cet.product")
      return .addable(name: name, replacement: [product, Node("Add", inputs: [product.outputs[0], name], outputs: [output])])
    default: return .none
    }
  }
}
