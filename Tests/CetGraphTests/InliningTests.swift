import CetTensor
import Testing

@testable import CetGraph

@Suite struct InliningTests {
  /// F(a) = a·k + k for a constant k of the function; G(a) = Relu(F(a)).
  private func functions() throws -> [Function] {
    [
      function("F", [
        try constantNode("k", [2, 3]), Node("Mul", name: "times", inputs: ["a", "k"], outputs: ["m"]),
        Node("Add", inputs: ["m", "k"], outputs: ["b"]),
      ]),
      function("G", [call("F", "a", "f"), Node("Relu", inputs: ["f"], outputs: ["b"])]),
    ]
  }

  private func model(_ nodes: [Node], gives output: String) throws -> Model {
    Model(
      opsets: ["": 17, "local": 1], graph: Graph(nodes: nodes, inputs: [info("x", 2), info("flag")], outputs: [info(output, 2)]),
      functions: try functions())
  }

  @Test func calls_becomeNodesUnderFreeNames() throws {
    let inlining = Inlining(try model([call("F", "x", "m"), call("F", "m", "y")], gives: "y"))
    let nodes = inlining.model.graph.nodes
    #expect(operators(nodes) == ["Mul", "Add", "Mul", "Add"])
    #expect(nodes.map(\.inputs) == [["x", "F.k"], ["m/m", "F.k"], ["m", "F.k"], ["y/m", "F.k"]])
    #expect(nodes.map(\.outputs) == [["m/m"], ["m"], ["y/m"], ["y"]])
    #expect(nodes.map(\.name) == ["m/times", "", "y/times", ""])
    // The function's constant is there once for all calls.
    #expect(inlining.model.graph.initializers.map(\.name) == ["F.k"])
    #expect(try inlining.model.graph.initializers[0].tensor.array(as: Float.self) == [2, 3])
  }

  @Test func callsInsideFunctionsAndBranches_areFollowed() throws {
    let node = choice("z", then: branch([call("G", "x", "g")], gives: "g"), else: branch([], gives: "x"))
    let inlining = Inlining(try model([node], gives: "z"))
    #expect(operators(inlining.model.graph.nodes.flattened) == ["If", "Mul", "Add", "Relu"])
  }

  @Test func functionsThatCannotBeInlined_stayCalls() throws {
    var other = try model([call("F", "x", "y")], gives: "y")
    other.functions[0].opsets[""] = 13
    #expect(operators(Inlining(other).model.graph.nodes) == ["F"])
    var endless = try model([call("H", "x", "y")], gives: "y")
    endless.functions = [function("H", [call("H", "a", "b")])]
    #expect(operators(Inlining(endless).model.graph.nodes) == ["H"])
    #expect(throws: CetError.self) { try endless.checkUnfolding() }
    // Which value a name stands for that both branches make cannot be said from outside.
    let twice = choice("z", then: branch([call("F", "x", "t")], gives: "t"), else: branch([call("F", "x", "t")], gives: "t"))
    #expect(operators(Inlining(try model([twice], gives: "z")).model.graph.nodes.flattened) == ["If", "F", "F"])
  }

  @Test func outwardEdit_writesOutTheTouchedCallsOnly() throws {
    let source = try model([call("F", "x", "m"), call("G", "m", "y")], gives: "y")
    let inlining = Inlining(source)
    var edit = ModelEdit()
    edit.replacedNodes["m"] = [Node("Sub", inputs: ["m/m", "F.k"], outputs: ["m"])]
    let outward = inlining.outward(edit)
    let result = try outward.applied(to: source)
    #expect(operators(result.graph.nodes) == ["Mul", "Sub", "G"])
    #expect(result.graph.initializers.map(\.name) == ["F.k"])
    // G still calls F.
    #expect(result.functions.map(\.name) == ["F", "G"])
    // A constant that changes is one of all calls.
    edit = ModelEdit()
    edit.initializers = [try floats("F.k", [7, 7])]
    let all = try inlining.outward(edit).applied(to: source)
    #expect(operators(all.graph.nodes) == ["Mul", "Add", "Mul", "Add", "Relu"])
    #expect(all.functions.isEmpty)
    #expect(try all.graph.initializers.map { try $0.tensor.array(as: Float.self) } == [[7, 7]])
  }

  @Test func resolvedAttributes_reachIntoBranches() throws {
    let inside = Node("Elu", inputs: ["x"], outputs: ["e"], attributes: ["alpha": .reference("a"), "beta": .reference("missing")])
    let resolved = choice("z", then: branch([inside], gives: "e"), else: branch([], gives: "x")).resolved(["a": .float(0.5)])
    let node = try #require(resolved.subgraphs.last?.nodes.first)
    guard case .float(0.5)? = node.attributes["alpha"] else {
      Issue.record("alpha is \(String(describing: node.attributes["alpha"]))")
      return
    }
    #expect(node.attributes["beta"] == nil)
  }
}
