import Testing

@testable import CetGraph

@Suite struct NameScopeTests {
  private func model() throws -> Model {
    var inside = Node("Neg", name: "inner", inputs: ["y"], outputs: ["p"])
    inside.attributes["body"] = .graph(branch([Node("Relu", name: "deep", inputs: ["x"], outputs: ["q"])], gives: "q"))
    var graph = Graph(
      nodes: [
        Node("Relu", name: "first", inputs: ["x"], outputs: ["y"]),
        choice("z", then: branch([inside], gives: "p"), else: branch([], gives: "y", [try floats("w", [1])])),
      ],
      inputs: [info("x"), info("flag")], outputs: [info("z")])
    graph.opaqueInitializers = ["odd"]
    return Model(graph: graph, functions: [function("F", [Node("Abs", name: "f", inputs: ["a"], outputs: ["t"])])])
  }

  @Test func values_ofAllGraphsAndFunctions_areTaken() throws {
    let scope = NameScope(try model())
    for name in ["x", "flag", "y", "z", "p", "q", "w", "odd", "a", "b", "t"] { #expect(scope.freeValue(name) == name + "_", "\(name)") }
    #expect(scope.freeValue("new") == "new")
  }

  @Test func nodeNames_haveASpaceOfTheirOwn() throws {
    var scope = NameScope(try model())
    #expect(scope.takeNode("x") == "x")
    for name in ["first", "inner", "deep", "f"] { #expect(scope.takeNode(name) == name + "_", "\(name)") }
    #expect(scope.freeValue("first") == "first")
  }

  @Test func takenValue_isGivenOnce() throws {
    var scope = NameScope(try model())
    #expect((0..<3).map { _ in scope.takeValue("y") } == ["y_", "y__", "y___"])
    #expect(scope.freeValue("n") == "n")
    #expect(scope.freeValue("n") == "n")
  }

  @Test func edit_bringsItsNames() throws {
    var edit = ModelEdit()
    edit.initializers = [try floats("codes", [1])]
    edit.leadingNodes = [Node("Cast", inputs: ["codes"], outputs: ["wide"])]
    edit.replacedNodes["y"] = [Node("Relu", inputs: ["x"], outputs: ["half"]), Node("Neg", inputs: ["half"], outputs: ["y"])]
    let scope = NameScope(try model(), edit)
    for name in ["codes", "wide", "half"] { #expect(scope.freeValue(name) == name + "_") }
  }
}
