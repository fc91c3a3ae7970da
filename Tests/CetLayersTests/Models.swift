import CetGraph
import CetTensor

@testable import CetLayers

func tensor(_ shape: Int..., from start: Float = 0) throws -> Tensor {
  try Tensor((0..<shape.elementCount).map { start + Float($0) }, shape: shape)
}

func weight(_ name: String, _ shape: Int...) throws -> Initializer {
  Initializer(name: name, tensor: try Tensor((0..<shape.elementCount).map(Float.init), shape: shape))
}

func integers(_ name: String, _ values: Int64...) throws -> Initializer {
  Initializer(name: name, tensor: try Tensor(values, shape: [values.count]))
}

func constantNode(_ value: Initializer) -> Node {
  Node("Constant", inputs: [], outputs: [value.name], attributes: ["value": .tensor(value)])
}

func value(_ name: String) -> ValueInfo { ValueInfo(name: name, type: .float32, shape: nil) }

/// A model from x (and `flag`) to what the last node makes.
func model(_ nodes: [Node], _ initializers: [Initializer] = [], functions: [Function] = [], opset: Int = 17) -> Model {
  Model(
    opsets: ["": opset, "local": 1],
    graph: Graph(
      nodes: nodes, initializers: initializers, inputs: [value("x"), value("flag")], outputs: [value(nodes.last?.firstOutput ?? "x")]),
    functions: functions)
}

/// The only layer of a model; nil when there are none or several.
func onlyLayer(_ nodes: [Node], _ initializers: [Initializer]) throws -> LinearLayer? {
  let layers = try LinearLayers(model(nodes, initializers)).layers
  return layers.count == 1 ? layers[0] : nil
}

/// How a bias is told apart in tests.
func text(_ bias: LinearLayer.Bias) -> String {
  switch bias {
  case .present(let name): "present \(name)"
  case .addable(let name, let nodes):
    "addable \(name): "
      + nodes.map { "\($0.operatorType)(\($0.inputs.joined(separator: ", "))) \($0.outputs.joined())" }.joined(separator: "; ")
  case .none: "none"
  }
}
