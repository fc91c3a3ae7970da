import CetGraph
import CetTensor

extension Runtime {
  /// Why OpenVINO opens no such file, or computes something else than it says, as far as domains, and the nodes that this library
  /// writes, tell: as tried with 2026.4 in its usual precision, which is bfloat16 where the processor has it, and in float32
  /// (Tests/python/test_runtimes.py). nil: nothing is known.
  public static func openVINOObstacle(to model: Model) -> String? {
    let functions = Set(model.functions.map { [$0.domain, $0.name] })
    var nodes = model.graph.nodes.flattened
    nodes += model.functions.flatMap(\.nodes.flattened)
    if let node = nodes.first(where: { functions.contains([$0.domain, $0.operatorType]) }) {
      return "function \(node.operatorType) of domain \(node.domain)"
    }
    if let node = nodes.first(where: { !["", "ai.onnx", "com.microsoft"].contains($0.domain) }) {
      return "operator \(node.operatorType) of domain \(node.domain)"
    }
    if let type = model.graph.initializers.map(\.tensor.type).first(where: { [.uint2, .int2].contains($0) }) { return "tensors of type \(type)" }
    // Of models without such nodes, which may be large, nothing more is gathered.
    let told: Set = ["DequantizeLinear", "QuantizeLinear", "GatherBlockQuantized", "LSTM", "GRU", "RNN"]
    guard nodes.contains(where: { told.contains($0.operatorType) || isNarrowing($0) }) else { return nil }
    let tensors = Dictionary(model.graph.initializers.map { ($0.name, $0.tensor) }, uniquingKeysWith: { first, _ in first })
    let makers = Dictionary(nodes.flatMap { node in node.outputs.map { ($0, node) } }, uniquingKeysWith: { first, _ in first })
    var orientations: [String: Set<String>] = [:]
    for node in nodes {
      for read in weightsRead(by: node, tensors, makers) { orientations[read.name, default: []].insert(read.orientation) }
      if let reason = blockObstacle(node, tensors) ?? productObstacle(node, tensors, makers) ?? recurrentObstacle(node, tensors, makers)
        ?? precisionObstacle(node, tensors, makers)
      {
        return reason
      }
    }
    return orientations.values.contains { $0.count > 1 } ? "a weight that products read in two orientations, which it mixes up" : nil
  }

  /// Weights made of codes by DequantizeLinear that a product reads, and how.
  private static func weightsRead(
    by node: Node, _ tensors: [String: Tensor], _ makers: [String: Node]
  ) -> [(name: String, orientation: String)] {
    guard node.domain.isEmpty, ["MatMul", "Gemm"].contains(node.operatorType) else { return [] }
    return [0, 1].compactMap { slot in
      guard let (source, isTransposed) = source(of: node, slot, makers), source.operatorType == "DequantizeLinear",
        isConstant(source.firstOutput, tensors, makers)
      else { return nil }
      return (source.firstOutput, "\(slot)\(isTransposed)")
    }
  }

  /// What makes an operand of a product, behind the few nodes that move it, and whether it is turned round.
  private static func source(of node: Node, _ slot: Int, _ makers: [String: Node]) -> (node: Node, isTransposed: Bool)? {
    var source = makers[node.input(slot)]
    var isTransposed = if case .int(let value)? = node.attributes[slot == 0 ? "transA" : "transB"] { value != 0 } else { false }
    // A name that is given in two scopes must not lead in a circle.
    for _ in 0..<4 {
      guard let moved = source, ["Transpose", "Reshape", "Cast", "Identity"].contains(moved.operatorType) else { break }
      if moved.operatorType == "Transpose" { isTransposed.toggle() }
      source = makers[moved.input(0)]
    }
    return source.map { ($0, isTransposed) }
  }

  /// Blocks must divide what they are blocks of.
  private static func blockObstacle(_ node: Node, _ tensors: [String: Tensor]) -> String? {
    guard case .int(let size)? = node.attributes["block_size"], size > 0, let codes = tensors[node.input(0)], codes.rank > 0 else { return nil }
    var count: Int
    switch node.operatorType {
    case "DequantizeLinear":
      var axis = if case .int(let value)? = node.attributes["axis"] { Int(clamping: value) } else { 1 }
      if axis < 0 { axis += codes.rank }
      guard codes.shape.indices.contains(axis) else { return nil }
      count = codes.shape[axis]
    case "GatherBlockQuantized":
      let bits = if case .int(let value)? = node.attributes["bits"] { Int(clamping: value) } else { 4 }
      count = codes.shape[codes.rank - 1]
      if codes.type == .uint8, bits > 0 { count = .saturatingProduct(count, 8 / bits) }
    default: return nil
    }
    return count.isMultiple(of: Int(clamping: size)) ? nil : "\(node.operatorType) with blocks of \(size) that do not divide \(count)"
  }

  /// Products read packed codes of an odd number of summands at wrong places.
  private static func productObstacle(_ node: Node, _ tensors: [String: Tensor], _ makers: [String: Node]) -> String? {
    guard node.domain.isEmpty, ["MatMul", "Gemm"].contains(node.operatorType),
      let (source, isTransposed) = source(of: node, 1, makers), source.operatorType == "DequantizeLinear",
      let codes = tensors[source.input(0)], codes.rank > 1, [.uint4, .int4].contains(codes.type)
    else { return nil }
    let count = codes.shape[isTransposed ? codes.rank - 1 : codes.rank - 2]
    return count.isMultiple(of: 2) ? nil : "\(node.operatorType) of 4-bit codes with an odd number of summands (\(count)), computed wrong"
  }

  /// What makes codes of unpacked weights needs float32, and what makes bfloat16 of them is not computed as it should be.
  private static func precisionObstacle(_ node: Node, _ tensors: [String: Tensor], _ makers: [String: Node]) -> String? {
    guard isNarrowing(node) || node.operatorType == "QuantizeLinear", makers[node.input(0)] != nil, isConstant(node.input(0), tensors, makers)
    else { return nil }
    return isNarrowing(node) ? "weights that are rounded to bfloat16, which it cuts" : "codes made of planes need INFERENCE_PRECISION_HINT f32"
  }

  /// What OpenVINO does not round to nearest.
  private static func isNarrowing(_ node: Node) -> Bool {
    guard node.operatorType == "Cast", case .int(let type)? = node.attributes["to"] else { return false }
    return type == Int64(ElementType.bfloat16.rawValue)
  }

  /// Recurrent operators take constants.
  private static func recurrentObstacle(_ node: Node, _ tensors: [String: Tensor], _ makers: [String: Node]) -> String? {
    guard ["LSTM", "GRU", "RNN"].contains(node.operatorType) else { return nil }
    let isMade = [1, 2].contains { makers[node.input($0)] != nil && !isConstant(node.input($0), tensors, makers) }
    return isMade ? "\(node.operatorType) with weights that nodes make" : nil
  }

  /// Whether a value is computed from initializers by a few nodes alone, which are folded.
  private static func isConstant(_ value: String, _ tensors: [String: Tensor], _ makers: [String: Node]) -> Bool {
    var (open, looked) = ([value], 0)
    while let name = open.popLast() {
      if name.isEmpty || tensors[name] != nil { continue }
      guard let maker = makers[name], looked < 64 else { return false }
      looked += 1
      if maker.operatorType != "Constant" { open += maker.inputs }
    }
    return true
  }
}
