import CetTensor
import Testing

@testable import CetGraph

@Suite struct ModelEditTests {
  /// y = x + w, z = If(flag) { −y } else { y + v } with a v of the branch's own.
  private func model(irVersion: Int64 = 8) throws -> Model {
    let inputs = [info("x", 2), ValueInfo(name: "flag", type: .bool, shape: [])] + (irVersion < 4 ? [info("w", 2)] : [])
    return Model(
      irVersion: irVersion,
      graph: Graph(
        nodes: [
          Node("Add", inputs: ["x", "w"], outputs: ["y"]),
          choice(
            "z", then: branch([Node("Neg", inputs: ["y"], outputs: ["n"])], gives: "n"),
            else: branch([Node("Add", inputs: ["y", "v"], outputs: ["s"])], gives: "s", [try floats("v", [5, 5])])),
        ],
        initializers: [try floats("w", [1, 2]), try floats("unused", [0])], inputs: inputs, outputs: [info("z", 2)]),
      metadata: [("author", "somebody"), ("kept", "yes")])
  }

  private func values(_ model: Model) throws -> [String: [Float]] {
    try model.graph.initializers.reduce(into: [:]) { $0[$1.name] = try $1.tensor.array(as: Float.self) }
  }

  @Test func initializers_areReplacedInPlaceAppendedAndDropped() throws {
    var edit = ModelEdit()
    edit.initializers = [try floats("new", [9]), try floats("w", [3, 4])]
    edit.removedInitializers = ["unused"]
    let result = try edit.applied(to: model())
    #expect(result.graph.initializers.map(\.name) == ["w", "new"])
    #expect(try values(result) == ["w": [3, 4], "new": [9]])
  }

  @Test func nodes_areReplacedInBranchesToo() throws {
    var edit = ModelEdit()
    edit.replacedNodes["y"] = [Node("Mul", inputs: ["x", "w"], outputs: ["m"]), Node("Relu", inputs: ["m"], outputs: ["y"])]
    edit.replacedNodes["n"] = [Node("Abs", inputs: ["y"], outputs: ["n"])]
    edit.leadingNodes = [Node("Identity", inputs: ["w"], outputs: ["first"])]
    let result = try edit.applied(to: model())
    #expect(operators(result.graph.nodes) == ["Identity", "Mul", "Relu", "If"])
    #expect(operators(result.graph.nodes.flattened) == ["Identity", "Mul", "Relu", "If", "Add", "Abs"])
  }

  @Test func initializerOfABranch_givesWayToTheMainGraphs() throws {
    var edit = ModelEdit()
    edit.initializers = [try floats("v", [6, 6])]
    let source = try model()
    let result = try edit.applied(to: source)
    #expect(try values(result)["v"] == [6, 6])
    #expect(result.graph.nodes[1].subgraphs.flatMap(\.initializers).isEmpty)
    let branches = source.graph.nodes[1].subgraphs
    #expect(branches.map { edit.touches($0) } == [true, false])
  }

  @Test func touches_nodeDeepInside_isFound() throws {
    var edit = ModelEdit()
    edit.replacedNodes["n"] = []
    let outer = branch(try model().graph.nodes, gives: "z")
    #expect(edit.touches(outer) && !ModelEdit().touches(outer))
  }

  @Test func initializersOfOldModels_areInputsAsWell() throws {
    var edit = ModelEdit()
    edit.initializers = [try floats("w", [1, 2, 3]), try floats("new", [9])]
    let old = try edit.applied(to: model(irVersion: 3))
    #expect(old.graph.inputs.map(\.name) == ["x", "flag", "w", "new"])
    #expect(old.graph.inputs[2] == info("w", 3))
    #expect(try edit.applied(to: model()).graph.inputs.map(\.name) == ["x", "flag"])
    edit = ModelEdit()
    edit.removedInitializers = ["w"]
    #expect(try edit.applied(to: model(irVersion: 3)).graph.inputs.map(\.name) == ["x", "flag"])
  }

  @Test func versions_areRaisedOnly() throws {
    var edit = ModelEdit()
    (edit.minimumOpset, edit.minimumIRVersion) = (13, 7)
    var result = try edit.applied(to: model())
    #expect(result.opset == 17 && result.irVersion == 8)
    (edit.minimumOpset, edit.minimumIRVersion) = (21, 10)
    result = try edit.applied(to: model())
    #expect(result.opset == 21 && result.irVersion == 10)
  }

  @Test func metadata_isMergedByKey() throws {
    var edit = ModelEdit()
    edit.metadata = [("kept", "still"), ("added", "now")]
    let result = try edit.applied(to: model())
    #expect(result.metadata.map(\.key) == ["author", "kept", "added"])
    #expect(result.metadata.map(\.value) == ["somebody", "still", "now"])
  }

  @Test func functions_areDroppedByKey() throws {
    var source = try model()
    source.functions = [function("F", []), function("G", [])]
    var edit = ModelEdit()
    edit.removedFunctions = [source.functions[0].key]
    #expect(try edit.applied(to: source).functions.map(\.name) == ["G"])
  }
}
