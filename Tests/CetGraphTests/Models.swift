import CetTensor

@testable import CetGraph

/// Small parts of models.
func info(_ name: String, _ sizes: Int...) -> ValueInfo {
  ValueInfo(name: name, type: .float32, shape: sizes.map { .fixed($0) })
}

func floats(_ name: String, _ values: [Float], _ shape: [Int]? = nil) throws -> Initializer {
  Initializer(name: name, tensor: try Tensor(values, shape: shape ?? [values.count]))
}

func constantNode(_ name: String, _ values: [Float], _ shape: [Int]? = nil) throws -> Node {
  Node("Constant", inputs: [], outputs: [name], attributes: ["value": .tensor(try floats("", values, shape))])
}

/// An If on `flag`. Branches come in the order of their attributes' names: the else branch first.
func choice(_ output: String, then: Graph, else other: Graph) -> Node {
  Node("If", inputs: ["flag"], outputs: [output], attributes: ["then_branch": .graph(then), "else_branch": .graph(other)])
}

func branch(_ nodes: [Node], gives output: String, _ initializers: [Initializer] = []) -> Graph {
  Graph(nodes: nodes, initializers: initializers, outputs: [info(output)])
}

func function(_ name: String, _ nodes: [Node], inputs: [String] = ["a"], outputs: [String] = ["b"], opset: Int = 17) -> Function {
  Function(
    name: name, domain: "local", inputs: inputs, outputs: outputs, attributeNames: [], attributeDefaults: [:], nodes: nodes,
    opsets: ["": opset, "local": 1])
}

func call(_ name: String, _ input: String, _ output: String) -> Node {
  Node(name, domain: "local", inputs: [input], outputs: [output])
}

func operators(_ nodes: [Node]) -> [String] { nodes.map(\.operatorType) }
