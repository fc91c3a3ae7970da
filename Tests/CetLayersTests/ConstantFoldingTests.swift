import CetGraph
import CetTensor
import Testing

@testable import CetLayers

@Suite struct ConstantFoldingTests {
  private static let product = Node("MatMul", inputs: ["x", "w"], outputs: ["y"])

  private func folding(_ nodes: [Node], _ initializers: [Initializer], encoded: Set<String> = []) throws -> ConstantFolding {
    try ConstantFolding(model(nodes, initializers), encoded: encoded, ComputeContext())
  }

  /// w = u + a·b of shape [2, 2].
  private func lowRank() throws -> (nodes: [Node], initializers: [Initializer]) {
    (
      [Node("MatMul", inputs: ["a", "b"], outputs: ["ab"]), Node("Add", inputs: ["u", "ab"], outputs: ["w"]), Self.product],
      [
        try weight("u", 2, 2), Initializer(name: "a", tensor: try Tensor([1, 2] as [Float], shape: [2, 1])),
        Initializer(name: "b", tensor: try Tensor([10, 20] as [Float], shape: [1, 2])),
      ]
    )
  }

  @Test func adapter_isOneWeight() throws {
    let (nodes, initializers) = try lowRank()
    let found = try folding(nodes, initializers)
    let weight = try #require(found.weights.first)
    #expect(found.weights.count == 1 && found.left.isEmpty && weight.name == "w")
    #expect(try weight.tensor.array(as: Float.self) == [10, 21, 22, 43])
    #expect(weight.nodes == [0, 1] && weight.reads == ["a", "b", "ab", "u"])
    let folded = try found.applied(to: model(nodes, initializers))
    #expect(folded.graph.nodes.map(\.operatorType) == ["MatMul"] && folded.graph.initializers.map(\.name) == ["w"])
    let layers = try LinearLayers(model(nodes, initializers)).layers
    #expect(layers.map(\.name) == ["w"] && layers[0].kind == .matrix(rowsFirst: false))
  }

  @Test func whatOthersRead_staysBehind() throws {
    var (nodes, initializers) = try lowRank()
    nodes.insert(Node("Add", inputs: ["x", "ab"], outputs: ["other"]), at: 2)
    let found = try folding(nodes, initializers)
    let edit = found.removal(of: ["w"])
    // The product has another reader, and so have what it is made of.
    #expect(Set(edit.replacedNodes.keys) == ["w"] && edit.removedInitializers == ["u"])
    #expect(found.disturbed(by: ["a"], except: []).map(\.name) == ["w"])
    #expect(found.disturbed(by: ["a"], except: ["w"]).isEmpty && found.disturbed(by: ["x"], except: []).isEmpty)
  }

  @Test func constantNodes_goWithTheWeight() throws {
    let nodes = [constantNode(try weight("mask", 2, 2)), Node("Mul", inputs: ["u", "mask"], outputs: ["w"]), Self.product]
    let edit = try folding(nodes, [try weight("u", 2, 2)]).removal(of: ["w"])
    #expect(Set(edit.replacedNodes.keys) == ["w", "mask"] && edit.replacedNodes.values.joined().isEmpty)
    #expect(edit.removedInitializers == ["u"])
  }

  @Test func weightThatIsOnlyTurned_isTakenBehindTheTurn() throws {
    let nodes = [
      Node("Mul", inputs: ["u", "v"], outputs: ["m"]),
      Node("Transpose", inputs: ["m"], outputs: ["w"], attributes: ["perm": .ints([1, 0])]), Self.product,
    ]
    let found = try folding(nodes, [try weight("u", 2, 2), try weight("v", 2, 2)])
    #expect(found.weights.map(\.name) == ["w"])
    #expect(try found.weights[0].tensor.array(as: Float.self) == [0, 4, 1, 9])
  }

  @Test func codesOfOthers_areLeft() throws {
    let codes = Initializer(name: "q", tensor: try Tensor([1, 2, 3, 4] as [Int8], shape: [2, 2]))
    let scale = Initializer(name: "s", tensor: try Tensor([0.5] as [Float], shape: []))
    let decoded = try folding([Node("DequantizeLinear", inputs: ["q", "s"], outputs: ["w"]), Self.product], [codes, scale])
    #expect(decoded.weights.isEmpty && decoded.left.map(\.reason) == ["already quantized: DequantizeLinear of constants"])
    #expect(decoded.left[0].producers == ["w"] && decoded.left[0].codes == 0)
    let cast = [
      Node("Cast", inputs: ["q"], outputs: ["f"], attributes: ["to": .int(1)]),
      Node("Mul", inputs: ["f", "s"], outputs: ["w"]), Self.product,
    ]
    let arithmetic = try folding(cast, [codes, scale])
    #expect(arithmetic.left.map(\.reason) == ["already quantized: computed from integers"] && arithmetic.left[0].codes == 4)
    // What this library encoded is computed and planned anew.
    let own = try folding(cast, [codes, scale], encoded: ["w"])
    #expect(try own.weights.map { try $0.tensor.array(as: Float.self) } == [[0.5, 1, 1.5, 2]])
  }

  @Test func productOfSmallFactors_isLeft() throws {
    let nodes = [Node("MatMul", inputs: ["a", "b"], outputs: ["w"]), Self.product]
    let found = try folding(nodes, [try weight("a", 4, 1), try weight("b", 1, 4)])
    #expect(found.weights.isEmpty && found.left.map(\.reason) == ["a product of constants that are smaller than it"])
    #expect(try LinearLayers(model(nodes, [weight("a", 4, 1), weight("b", 1, 4)])).layers.isEmpty)
  }

  @Test func whatDependsOnInputsOrIsGivenOut_isNotFolded() throws {
    let u = try weight("u", 2, 2)
    #expect(try folding([Node("Mul", inputs: ["u", "x"], outputs: ["w"]), Self.product], [u]).weights.isEmpty)
    var given = model([Node("Neg", inputs: ["u"], outputs: ["w"]), Self.product], [u])
    #expect(try ConstantFolding(given, encoded: [], ComputeContext()).weights.map(\.name) == ["w"])
    given.graph.outputs.append(value("w"))
    #expect(try ConstantFolding(given, encoded: [], ComputeContext()).weights.isEmpty)
  }
}
