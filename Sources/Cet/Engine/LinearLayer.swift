import CetGraph
import CetTensor

/// A weight tensor and the linear operators that read it.
struct LinearLayer: Sendable {
  enum Kind: Sendable, Equatable {
    case convolution(groups: Int)
    case transposedConvolution(groups: Int)
    /// A matrix product whose constant operand is [K, N] (`rowsFirst` false) or [N, K] (true).
    case matrix(rowsFirst: Bool)
    /// Rows picked by index.
    case table
    /// Used in ways that have no common matrix form: rounded without input statistics.
    case other
  }

  /// Where the mean of the output error can be put.
  enum Bias: Sendable {
    /// An initializer that only this layer's node reads, at the given input of the node.
    case present(name: String)
    /// A new initializer of this name, and what replaces the node so that it is read.
    case addable(name: String, replacement: [Node])
    case none
  }

  let name: String
  let shape: [Int]
  let kind: Kind
  /// Axis of the output channels (rows of the table): the quantization axis.
  let axis: Int
  /// The node that reads the weight; the first one when several do.
  let node: Int
  /// Name of the activation that the weight multiplies; nil for tables.
  let input: String?
  let output: String
  let bias: Bias

  var count: Int { shape.elementCount }
  /// Output channels, the length of a bias.
  var channels: Int { shape[axis] }
}

/// Finds the weights that can be quantized, in the order in which the graph first reads them: float32 constants
/// of rank 2 or more that are the weight of Conv, ConvTranspose, Gemm, MatMul, or the table of Gather.
struct LinearLayers: Sendable {
  let layers: [LinearLayer]
  /// The model with weights and biases of Constant nodes as initializers.
  let model: Model
  /// The Constant nodes that hold what `model` has as initializers, by name.
  let constantNodes: [String: Int]

  init(_ original: Model) {
    var model = original
    var constantNodes: [String: Int] = [:]
    let held = Set(model.graph.initializers.map(\.name))
    for (index, node) in model.graph.nodes.enumerated() where node.operatorType == "Constant" && node.domain.isEmpty {
      guard let name = node.outputs.first, !held.contains(name), case .tensor(let value) = node.attributes["value"],
        value.tensor.type == .float32, value.tensor.rank >= 1
      else { continue }
      constantNodes[name] = index
      model.graph.initializers.append(Initializer(name: name, tensor: value.tensor))
    }
    self.model = model
    self.constantNodes = constantNodes

    let tensors = Dictionary(model.graph.initializers.map { ($0.name, $0.tensor) }, uniquingKeysWith: { $1 })
    let uses = LinearLayers.uses(in: model.graph)
    let graphOutputs = Set(model.graph.outputs.map(\.name))
    var found: [LinearLayer] = []
    var seen: Set<String> = []
    for (index, node) in model.graph.nodes.enumerated() where node.domain.isEmpty || node.domain == "ai.onnx" {
      guard let slot = LinearLayers.weightSlot[node.operatorType], node.inputs.count > slot else { continue }
      let name = node.inputs[slot]
      guard let tensor = tensors[name], tensor.type == .float32, tensor.rank >= 2, tensor.count > 0,
        !graphOutputs.contains(name), seen.insert(name).inserted
      else { continue }
      let shared = (uses[name] ?? []).count > 1
      let (kind, axis) = LinearLayers.form(node, tensor.shape, shared: shared)
      let bias: LinearLayer.Bias =
        shared ? .none : LinearLayers.bias(node, index, tensor, name, axis, model, tensors, uses, graphOutputs)
      found.append(
        LinearLayer(
          name: name, shape: tensor.shape, kind: kind, axis: axis, node: index,
          input: kind == .table || kind == .other ? nil : node.inputs[0], output: node.outputs.first ?? "", bias: bias))
    }
    layers = found
  }

  private static let weightSlot = ["Conv": 1, "ConvTranspose": 1, "Gemm": 1, "MatMul": 1, "Gather": 0]

  /// Node indices that read each value, subgraphs included.
  private static func uses(in graph: Graph) -> [String: [Int]] {
    var uses: [String: [Int]] = [:]
    func visit(_ node: Node, _ index: Int) {
      for input in node.inputs where !input.isEmpty { uses[input, default: []].append(index) }
      for attribute in node.attributes.values {
        let graphs: [Graph] =
          switch attribute {
          case .graph(let graph): [graph]
          case .graphs(let graphs): graphs
          default: []
          }
        for graph in graphs {
          for inner in graph.nodes { visit(inner, index) }
          for output in graph.outputs { uses[output.name, default: []].append(index) }
        }
      }
    }
    for (index, node) in graph.nodes.enumerated() { visit(node, index) }
    return uses
  }

  private static func form(_ node: Node, _ shape: [Int], shared: Bool) -> (LinearLayer.Kind, Int) {
    func int(_ name: String, _ standard: Int) -> Int {
      if case .int(let value) = node.attributes[name] { Int(value) } else { standard }
    }
    switch node.operatorType {
    case "Conv": return (shared ? .other : .convolution(groups: int("group", 1)), 0)
    case "ConvTranspose": return (shared ? .other : .transposedConvolution(groups: int("group", 1)), 1)
    case "Gemm":
      let rowsFirst = int("transB", 0) != 0
      let plain = int("transA", 0) == 0 && !shared
      return (plain ? .matrix(rowsFirst: rowsFirst) : .other, rowsFirst ? 0 : 1)
    case "Gather":
      return (shape.count == 2 && int("axis", 0) == 0 ? .table : .other, 0)
    default:  // MatMul: the last axis counts outputs
      return (shape.count == 2 && !shared ? .matrix(rowsFirst: false) : .other, shape.count - 1)
    }
  }

  private static func bias(
    _ node: Node, _ index: Int, _ weight: Tensor, _ weightName: String, _ axis: Int, _ model: Model,
    _ tensors: [String: Tensor], _ uses: [String: [Int]], _ graphOutputs: Set<String>
  ) -> LinearLayer.Bias {
    let channels = weight.shape[axis]
    func isOwn(_ name: String) -> Bool {
      guard let tensor = tensors[name] else { return false }
      return tensor.type == .float32 && tensor.count == channels && uses[name]?.count == 1 && !graphOutputs.contains(name)
    }
    func added(_ inputs: [String]) -> LinearLayer.Bias {
      var replacement = node
      replacement.inputs = inputs
      return .addable(name: "\(weightName).cet.bias", replacement: [replacement])
    }
    switch node.operatorType {
    case "Conv":
      if node.inputs.count < 3 || node.inputs[2].isEmpty {
        return added([node.inputs[0], node.inputs[1], "\(weightName).cet.bias"])
      }
      return isOwn(node.inputs[2]) ? .present(name: node.inputs[2]) : .none
    case "Gemm":
      if case .float(let beta) = node.attributes["beta"], beta != 1 { return .none }
      if case .float(let alpha) = node.attributes["alpha"], alpha != 1 { return .none }
      if node.inputs.count < 3 || node.inputs[2].isEmpty {
        // Before opset 11 the operand C is required, so it is there.
        return added([node.inputs[0], node.inputs[1], "\(weightName).cet.bias"])
      }
      return isOwn(node.inputs[2]) && tensors[node.inputs[2]]?.rank == 1 ? .present(name: node.inputs[2]) : .none
    case "MatMul":
      guard weight.rank == 2, let output = node.outputs.first else { return .none }
      // The bias is the Add behind the product, if that is all that reads it.
      if let consumers = uses[output], consumers.count == 1, !graphOutputs.contains(output) {
        let next = model.graph.nodes[consumers[0]]
        if next.operatorType == "Add", let other = next.inputs.first(where: { $0 != output }), isOwn(other),
          tensors[other]?.shape.last == channels
        {
          return .present(name: other)
        }
      }
      var product = node
      product.outputs[0] = "\(output).cet.product"
      let sum = Node("Add", inputs: [product.outputs[0], "\(weightName).cet.bias"], outputs: [output])
      return .addable(name: "\(weightName).cet.bias", replacement: [product, sum])
    default: return .none
    }
  }
}
