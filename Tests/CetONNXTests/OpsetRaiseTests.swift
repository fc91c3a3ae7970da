import CetGraph
import CetTensor
import Testing

@testable import CetONNX

/// Conversions one by one are judged by ONNX Runtime in Tests/python; this is about where nodes stand.
@Suite struct OpsetRaiseTests {
  private func mean(_ input: String, _ output: String) -> Node {
    Node("ReduceMean", inputs: [input], outputs: [output], attributes: ["axes": .ints([1]), "keepdims": .int(1)])
  }

  private func info(_ name: String) -> ValueInfo {
    ValueInfo(name: name, type: .float32, shape: [.symbolic("n"), .fixed(4)])
  }

  private func model() -> Model {
    func branch(_ kind: String) -> Graph {
      var node = mean("x", "m")
      node.operatorType = kind
      return Graph(name: kind, nodes: [node], outputs: [info("m")])
    }
    let choice = Node(
      "If", inputs: ["flag"], outputs: ["z"],
      attributes: ["then_branch": .graph(branch("ReduceMax")), "else_branch": .graph(branch("ReduceMin"))])
    let function = Function(
      name: "F", domain: "local", inputs: ["a"], outputs: ["b"], attributeNames: [], attributeDefaults: [:],
      nodes: [mean("a", "b")], opsets: ["": 13])
    return Model(
      opsets: ["": 17, "local": 1],
      graph: Graph(
        name: "g",
        nodes: [
          choice, mean("z", "y"), Node("F", domain: "local", inputs: ["y"], outputs: ["u"]),
          Node("ReduceMean", domain: "other", inputs: ["u"], outputs: ["v"], attributes: ["axes": .ints([1])]),
        ], inputs: [info("x"), ValueInfo(name: "flag", type: .bool, shape: [])], outputs: [info("v")]),
      functions: [function])
  }

  private func raised(_ model: Model, to opset: Int) throws -> Model {
    let file = try ModelFile(bytes: ModelWriter.write(model))
    var edit = ModelEdit()
    edit.minimumOpset = opset
    let bytes = try ModelWriter.write(edit: edit, of: file)
    #expect(try ModelWriter.size(edit: edit, of: file) == bytes.count)
    let written = try ModelFile(bytes: bytes).model
    #expect(ModelDump.text(written) == ModelDump.text(try edit.applied(to: file.model)))
    return written
  }

  @Test func nodes_changeWhereverTheyStand() throws {
    let written = try raised(model(), to: 21)
    #expect(written.opset == 21 && written.functions[0].opsets[""] == 21)
    func kinds(_ nodes: [Node]) -> [String] { nodes.map(\.operatorType) }
    #expect(kinds(written.graph.nodes) == ["If", "Constant", "ReduceMean", "F", "ReduceMean"])
    #expect(kinds(written.functions[0].nodes) == ["Constant", "ReduceMean"])
    #expect(written.graph.nodes[0].subgraphs.map { kinds($0.nodes) } == [["Constant", "ReduceMin"], ["Constant", "ReduceMax"]])
    #expect(written.graph.nodes[2].inputs == ["z", "y.cet.axes"] && written.graph.nodes[2].attributes["axes"] == nil)
    #expect(written.graph.nodes[4].attributes["axes"] != nil)
  }

  @Test func nodes_stayBelowTheVersionThatChangesThem() throws {
    let written = try raised(model(), to: 17)
    #expect(written.graph.nodes.count == 4 && written.functions[0].nodes.count == 1)
    // The main graph is new enough, the function is not, and nothing in it changes on the way.
    #expect(written.opset == 17 && written.functions[0].opsets[""] == 17)
  }

  @Test func names_stayClearOfTheGraph() throws {
    var model = model()
    model.graph.nodes.insert(Node("Identity", inputs: ["x"], outputs: ["y.cet.axes"]), at: 0)
    #expect(try raised(model, to: 21).graph.nodes[3].inputs == ["z", "y.cet.axes_"])
  }

  @Test func whatHasNoLaterForm_isNamed() throws {
    var model = model()
    model.functions[0].nodes[0].attributes["axes"] = .reference("which")
    func message(_ model: Model, _ opset: Int) -> String {
      var edit = ModelEdit()
      edit.minimumOpset = opset
      do {
        _ = try edit.applied(to: model)
        return ""
      } catch { return "\(error)" }
    }
    #expect(message(model, 21).contains("node 'b': ReduceMean of operator set 13 cannot be written for operator set 21"))
    #expect(message(model, 17) == "")
    model.opsets[""] = 5
    #expect(message(model, 13).contains("operator set 5"))
  }
}
