import CetGraph
import CetTensor
import Testing

@testable import CetLayers

@Suite struct ResidualTests {
  private static let product = Node("MatMul", inputs: ["x", "w"], outputs: ["y"])
  private static let sum = Node("Add", inputs: ["x", "y"], outputs: ["z"])

  /// The residual of the layer "w" in a model of these nodes.
  private func residual(_ nodes: [Node], _ initializers: [Initializer] = []) throws -> Residual? {
    let found = try LinearLayers(model(nodes, [try weight("w", 2, 2)] + initializers))
    let layer = try #require(found.layers.first { $0.name == "w" })
    return Residual(of: layer, in: GraphIndex(found.model.graph))
  }

  @Test func sum_otherOperandIsTheResidual() throws {
    let found = try #require(try residual([Self.product, Self.sum]))
    #expect(found.name == "x" && found.slopes.isEmpty)
    #expect(try residual([Self.product, Node("Add", inputs: ["y", "x"], outputs: ["z"])]) == found)
  }

  @Test func biasBetween_isPassed() throws {
    let nodes = [Self.product, Node("Add", inputs: ["y", "b"], outputs: ["v"]), Node("Add", inputs: ["v", "x"], outputs: ["z"])]
    #expect(try residual(nodes, [weight("b", 2)])?.name == "x")
  }

  @Test func normalizationBetween_givesSlopes() throws {
    let normalization = Node(
      "BatchNormalization", inputs: ["y", "scale", "shift", "mean", "variance"], outputs: ["v"], attributes: ["epsilon": .float(0)])
    func found(scale: [Float], variance: [Float]) throws -> Residual? {
      func vector(_ name: String, _ values: [Float]) throws -> Initializer {
        Initializer(name: name, tensor: try Tensor(values, shape: [values.count]))
      }
      return try residual(
        [Self.product, normalization, Node("Add", inputs: ["v", "x"], outputs: ["z"])],
        [vector("scale", scale), vector("shift", [0, 0]), vector("mean", [0, 0]), vector("variance", variance)])
    }
    // 6/√4 and −1/√0.25.
    let slopes = try #require(try found(scale: [6, -1], variance: [4, 0.25]))
    #expect(slopes.name == "x" && slopes.slopes == [3, -2])
    #expect(try found(scale: [6, 0], variance: [4, 1]) == nil)  // nothing of that channel arrives
    #expect(try found(scale: [6, 1, 1], variance: [4, 1, 1]) == nil)  // of other channels than the layer's
  }

  @Test func otherWays_haveNoResidual() throws {
    #expect(try residual([Self.product]) == nil)
    #expect(try residual([Self.product, Node("Relu", inputs: ["y"], outputs: ["z"])]) == nil)
    #expect(try residual([Self.product, Node("Add", inputs: ["y", "y"], outputs: ["z"])]) == nil)
    #expect(try residual([Self.product, Self.sum, Node("Neg", inputs: ["y"], outputs: ["n"])]) == nil)
  }

  @Test func branchThatReadsTheOutput_doesNotCount() throws {
    let branch = Graph(nodes: [Node("Neg", inputs: ["y"], outputs: ["n"])], outputs: [value("n")])
    let other = Graph(nodes: [Node("Abs", inputs: ["x"], outputs: ["a"])], outputs: [value("a")])
    let choice = Node("If", inputs: ["flag"], outputs: ["i"], attributes: ["then_branch": .graph(branch), "else_branch": .graph(other)])
    #expect(try residual([Self.product, choice, Self.sum])?.name == "x")
  }
}
