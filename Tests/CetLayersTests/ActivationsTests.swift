import CetGraph
import CetTensor
import Testing

@testable import CetLayers

@Suite struct ActivationsTests {
  private static func found(_ nodes: [Node], _ initializers: [Initializer], outputs: [String]) throws -> LinearLayers {
    func value(_ name: String) -> ValueInfo { ValueInfo(name: name, type: .float32, shape: nil) }
    return try LinearLayers(
      Model(opsets: ["": 17], graph: Graph(nodes: nodes, initializers: initializers, inputs: [value("x")], outputs: outputs.map(value))))
  }

  private static func names(_ nodes: [Node], _ initializers: [Initializer], outputs: [String]) throws -> [String] {
    let found = try found(nodes, initializers, outputs: outputs)
    return Activations(found, planned: Set(found.layers.indices)).all.map(\.name)
  }

  @Test func convolutions_areRoundedAtInputsAndBehindTheirRelu() throws {
    let nodes = [
      Node("Conv", inputs: ["x", "a"], outputs: ["1"]), Node("Relu", inputs: ["1"], outputs: ["2"]),
      Node("Conv", inputs: ["2", "b"], outputs: ["3"]), Node("Add", inputs: ["3", "2"], outputs: ["4"]),
      Node("Relu", inputs: ["4"], outputs: ["5"]), Node("GlobalAveragePool", inputs: ["5"], outputs: ["y"]),
    ]
    let weights = [try weight("a", 4, 3, 1, 1), try weight("b", 4, 4, 1, 1)]
    #expect(try Self.names(nodes, weights, outputs: ["y"]) == ["x", "2", "3", "5"])
  }

  @Test func productsOfMatrices_areRoundedAtInputsAlone() throws {
    let nodes = [
      Node("MatMul", inputs: ["x", "a"], outputs: ["1"]), Node("Tanh", inputs: ["1"], outputs: ["2"]),
      Node("MatMul", inputs: ["2", "b"], outputs: ["y"]),
    ]
    #expect(try Self.names(nodes, [weight("a", 4, 4), weight("b", 4, 4)], outputs: ["y"]) == ["x", "2"])
  }

  @Test func movedValues_shareTheGridOfTheirOrigin() throws {
    let nodes = [
      Node("Conv", inputs: ["x", "a"], outputs: ["1"]), Node("MaxPool", inputs: ["1"], outputs: ["2"]),
      Node("Conv", inputs: ["2", "b"], outputs: ["3"]), Node("Flatten", inputs: ["3"], outputs: ["4"]),
      Node("Gemm", inputs: ["4", "c"], outputs: ["y"]),
    ]
    let found = try Self.found(nodes, [weight("a", 4, 3, 1, 1), weight("b", 4, 4, 1, 1), weight("c", 4, 2)], outputs: ["y"])
    let all = Activations(found, planned: [0, 1, 2]).all
    #expect(all.map(\.name) == ["x", "1", "3"] && all.map(\.copies) == [[], ["2"], ["4"]] && all.map(\.layers) == [[0], [1], [2]])
  }

  @Test func outputsOfTheModel_andCodes_stayAsTheyAre() throws {
    let nodes = [
      Node("MatMul", inputs: ["x", "a"], outputs: ["h"]), Node("MatMul", inputs: ["h", "b"], outputs: ["y"]),
    ]
    let found = try Self.found(nodes, [weight("a", 4, 4), weight("b", 4, 4)], outputs: ["y", "h"])
    let activations = Activations(found, planned: [0, 1])
    #expect(activations.all.map(\.name) == ["x"] && activations.left == [1])
    #expect(throws: CetError.self) { try Activations.check(["h"], in: found) }
    #expect(throws: CetError.self) { try Activations.check(["nobody"], in: found) }
  }

  @Test func layersThatStayFloat_roundNothing() throws {
    let nodes = [Node("MatMul", inputs: ["x", "a"], outputs: ["h"]), Node("MatMul", inputs: ["h", "b"], outputs: ["y"])]
    let found = try Self.found(nodes, [weight("a", 4, 4), weight("b", 4, 4)], outputs: ["y"])
    #expect(Activations(found, planned: [1]).all.map(\.name) == ["h"])
  }
}
