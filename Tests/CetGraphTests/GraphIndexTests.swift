import CetTensor
import Testing

@testable import CetGraph

@Suite struct GraphIndexTests {
  /// 0 Constant c · 1 MatMul(x, w) → y · 2 If → z, in it 3 Add(y, d) → p (else) and 4 Relu(y) → q (then) ·
  /// 5 Loop(z) → u, in it 6 Mul(s, c) → t · 7 Neg(w) → k
  private func graph() throws -> Graph {
    let body = Graph(
      nodes: [Node("Mul", inputs: ["s", "c"], outputs: ["t"])],
      inputs: [info("turn"), info("goes_on"), info("s")], outputs: [info("goes_on"), info("t")])
    return Graph(
      nodes: [
        try constantNode("c", [3]),
        Node("MatMul", inputs: ["x", "w"], outputs: ["y"]),
        choice(
          "z", then: branch([Node("Relu", inputs: ["y"], outputs: ["q"])], gives: "q"),
          else: branch([Node("Add", inputs: ["y", "d"], outputs: ["p"])], gives: "p", [try floats("d", [1])])),
        Node("Loop", inputs: ["", "", "z"], outputs: ["u"], attributes: ["body": .graph(body)]),
        Node("Neg", inputs: ["w"], outputs: ["k"]),
      ],
      initializers: [try floats("w", [1, 2], [2, 1])], inputs: [info("x", 1, 2), info("flag")], outputs: [info("u"), info("k")])
  }

  @Test func nodes_standInOrderBehindTheirHolders() throws {
    let index = GraphIndex(try graph())
    #expect(operators(index.nodes) == ["Constant", "MatMul", "If", "Add", "Relu", "Loop", "Mul", "Neg"])
    #expect((0..<8).map { index.holder(of: $0) } == [nil, nil, nil, 2, 2, nil, 5, nil])
    #expect((0..<8).filter { index.isRepeated($0) } == [6])
  }

  @Test func isRepeated_branchInALoop_counts() throws {
    let inner = choice("r", then: branch([], gives: "s"), else: branch([Node("Neg", inputs: ["s"], outputs: ["v"])], gives: "v"))
    let body = Graph(nodes: [inner], inputs: [info("s")], outputs: [info("r")])
    let scan = Node("Scan", inputs: ["x"], outputs: ["y"], attributes: ["body": .graph(body)])
    let index = GraphIndex(Graph(nodes: [scan], inputs: [info("x")], outputs: [info("y")]))
    #expect(operators(index.nodes) == ["Scan", "If", "Neg"])
    #expect((0..<3).map { index.isRepeated($0) } == [false, true, true])
  }

  @Test func producersAndReaders_areFoundAcrossGraphs() throws {
    let index = GraphIndex(try graph())
    #expect(index.producer(of: "y") == 1 && index.producer(of: "p") == 3 && index.producer(of: "t") == 6)
    // Inputs and constants are produced by no node.
    for name in ["x", "w", "c", "d", "s", "nothing"] { #expect(index.producer(of: name) == nil, "\(name)") }
    #expect(index.readers(of: "y") == [3, 4])
    #expect(index.readers(of: "c") == [6])
    #expect(index.readers(of: "w") == [1, 7])
    #expect(index.readers(of: "u") == [] && index.isRead("u"))
    #expect(index.isOutput("p") && index.isOutput("goes_on") && !index.isOutput("y"))
    #expect(!index.isRead("turn") && index.isRead("y"))
  }

  @Test func readers_nodeThatReadsTwice_countsTwice() {
    let index = GraphIndex(Graph(nodes: [Node("Add", inputs: ["x", "x"], outputs: ["y"])], inputs: [info("x")], outputs: [info("y")]))
    #expect(index.readers(of: "x") == [0, 0])
  }

  @Test func constants_whereTheyStandIsKnown() throws {
    let index = GraphIndex(try graph())
    #expect(Set(index.constants.keys) == ["w", "c", "d"])
    #expect(index.inner == ["c", "d"] && index.constantNodes == ["c"])
    #expect(index.initializer("w")?.shape == [2, 1])
    #expect(index.initializer("c") == nil && index.initializer("d") == nil)
  }

  @Test func name_producedTwice_hasNoProducer() throws {
    let graph = Graph(
      nodes: [
        choice(
          "z", then: branch([Node("Relu", inputs: ["x"], outputs: ["m"])], gives: "m", [try floats("k", [1])]),
          else: branch([Node("Neg", inputs: ["x"], outputs: ["m"])], gives: "m", [try floats("k", [2])])),
        try constantNode("v", [1]),
        choice("o", then: branch([try constantNode("v", [2])], gives: "v"), else: branch([], gives: "x")),
      ], inputs: [info("x"), info("flag")], outputs: [info("z")])
    let index = GraphIndex(graph)
    #expect(index.ambiguous == ["m", "k", "v"])
    #expect(index.producer(of: "m") == nil)
    #expect(index.constants.isEmpty && index.inner.isEmpty && index.constantNodes.isEmpty)
    #expect(index.producer(of: "z") == 0)
  }

  @Test func initializers_listedAsInputs_areProducedOnce() throws {
    var graph = Graph(
      nodes: [Node("Add", inputs: ["x", "w"], outputs: ["y"])], initializers: [try floats("w", [1])],
      inputs: [info("x"), info("w"), info("s")], outputs: [info("y")])
    graph.opaqueInitializers = ["s"]
    let index = GraphIndex(graph)
    #expect(index.ambiguous.isEmpty && index.constants["w"] != nil && index.constants["s"] == nil)
    #expect(index.isFed("x") && !index.isFed("w") && !index.isFed("s"))
  }

  @Test func isFed_followsInputsThroughBranches() throws {
    let index = GraphIndex(try graph())
    // Neg and the constant depend on nothing that is fed; the If does by its branches as well.
    #expect((0..<8).filter { index.isFed($0) } == [1, 2, 3, 4, 5, 6])
    #expect(index.isFed("y") && index.isFed("u") && index.isFed("s") && !index.isFed("k") && !index.isFed("c"))
  }

  @Test func isFed_branchThatReadsAnInput_feedsItsNode() throws {
    let nodes = [
      Node(
        "If", inputs: ["w"], outputs: ["y"],
        attributes: [
          "then_branch": .graph(branch([Node("Neg", inputs: ["x"], outputs: ["n"])], gives: "n")),
          "else_branch": .graph(branch([], gives: "w")),
        ]),
      Node(
        "If", inputs: ["w"], outputs: ["v"],
        attributes: ["then_branch": .graph(branch([], gives: "w")), "else_branch": .graph(branch([], gives: "w"))]),
    ]
    let index = GraphIndex(Graph(nodes: nodes, initializers: [try floats("w", [1])], inputs: [info("x")], outputs: [info("y"), info("v")]))
    #expect(index.isFed("y") && !index.isFed("v"))
  }

  @Test func isFed_randomNumbers_areNoConstants() {
    let drawn = Node("RandomNormal", inputs: [], outputs: ["r"], attributes: ["shape": .ints([2])])
    let index = GraphIndex(
      Graph(nodes: [
        drawn, Node("Neg", inputs: ["r"], outputs: ["y"]),
        choice("z", then: branch([drawn], gives: "r"), else: branch([], gives: "e")),
      ]))
    #expect(index.isFed("y") && index.isFed(2))
  }

  @Test func function_inputsAreFed() throws {
    let index = GraphIndex(function("F", [try constantNode("c", [1]), Node("Add", inputs: ["a", "c"], outputs: ["b"])]))
    #expect(index.producer(of: "b") == 1 && index.isFed("b") && index.isOutput("b"))
    #expect(index.producer(of: "a") == nil && index.isFed("a") && index.constantNodes == ["c"])
  }
}
