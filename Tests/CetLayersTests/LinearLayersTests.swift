import CetGraph
import CetOperators
import CetTensor
import Testing

@testable import CetLayers

@Suite struct LinearLayersTests {
  // MARK: Convolutions

  @Test func convolution_groups_rowsAreOutputChannels() throws {
    let node = Node("Conv", inputs: ["x", "w"], outputs: ["y"], attributes: ["group": .int(2)])
    let layer = try #require(try onlyLayer([node], [weight("w", 6, 2, 3, 3)]))
    #expect(layer.name == "w" && layer.kind == .convolution(groups: 2) && layer.axis == 0 && layer.channels == 6)
    #expect(layer.count == 108 && layer.input == "x" && layer.output == "y" && layer.observed == ["x"])
    #expect(text(layer.bias) == "addable w.cet.bias: Conv(x, w, w.cet.bias) y")
    #expect(layer.isSequential && !layer.isMoved)
  }

  @Test func convolution_bias_isTheLayersWhenNobodyElseReadsIt() throws {
    let first = Node("Conv", inputs: ["x", "w", "b"], outputs: ["y"])
    let initializers = [try weight("w", 4, 2, 1, 1), try weight("b", 4)]
    #expect(try text(#require(try onlyLayer([first], initializers)).bias) == "present b")
    let shared = [first, Node("Add", inputs: ["y", "b"], outputs: ["z"])]
    #expect(try text(#require(try onlyLayer(shared, initializers)).bias) == "none")
  }

  @Test func convolution_biasWithAnInfinity_isLeftAlone() throws {
    let bias = Initializer(name: "b", tensor: try Tensor([0, .infinity] as [Float], shape: [2]))
    let layer = try onlyLayer([Node("Conv", inputs: ["x", "w", "b"], outputs: ["y"])], [weight("w", 2, 2, 1, 1), bias])
    #expect(try text(#require(layer).bias) == "none")
  }

  @Test func transposedConvolution_rowsAreTheSecondAxis() throws {
    func layer(groups: Int64) throws -> LinearLayer {
      let node = Node("ConvTranspose", inputs: ["x", "w"], outputs: ["y"], attributes: ["group": .int(groups)])
      return try #require(try onlyLayer([node], [weight("w", 4, 3, 2, 2)]))
    }
    let (plain, grouped) = (try layer(groups: 1), try layer(groups: 2))
    #expect(plain.kind == .transposedConvolution(groups: 1) && plain.axis == 1 && plain.channels == 3)
    #expect(text(plain.bias) == "addable w.cet.bias: ConvTranspose(x, w, w.cet.bias) y")
    #expect(grouped.kind == .transposedConvolution(groups: 2) && text(grouped.bias) == "none")
  }

  // MARK: Matrix products

  @Test func gemm_attributes_decideOverRowsAndBias() throws {
    func layer(_ attributes: [String: Attribute]) throws -> LinearLayer {
      let node = Node("Gemm", inputs: ["x", "w", "b"], outputs: ["y"], attributes: attributes)
      return try #require(try onlyLayer([node], [weight("w", 3, 3), weight("b", 3)]))
    }
    let (plain, turned, odd) = (try layer([:]), try layer(["transB": .int(1)]), try layer(["transA": .int(1)]))
    #expect(plain.kind == .matrix(rowsFirst: false) && plain.axis == 1 && text(plain.bias) == "present b")
    #expect(turned.kind == .matrix(rowsFirst: true) && turned.axis == 0)
    #expect(odd.kind == .other && odd.axis == 1)
    // What is added is not what the layer's output moves by.
    #expect(try text(layer(["alpha": .float(2)]).bias) == "none" && text(layer(["beta": .float(0.5)]).bias) == "none")
  }

  @Test func product_biasIsTheAddBehindIt() throws {
    let product = Node("MatMul", inputs: ["x", "w"], outputs: ["y"])
    let initializers = [try weight("w", 2, 3), try weight("b", 3)]
    let present = try #require(try onlyLayer([product, Node("Add", inputs: ["b", "y"], outputs: ["z"])], initializers))
    #expect(present.kind == .matrix(rowsFirst: false) && present.axis == 1 && text(present.bias) == "present b")
    let readers = [Node("Add", inputs: ["b", "y"], outputs: ["z"]), Node("Mul", inputs: ["z", "y"], outputs: ["v"])]
    let elsewhere = try #require(try onlyLayer([product] + readers, initializers))
    #expect(text(elsewhere.bias) == "addable w.cet.bias: MatMul(x, w) y.cet.product; Add(y.cet.product, w.cet.bias) y")
  }

  @Test func product_weightOnTheLeft_hasNoBias() throws {
    let layer = try #require(try onlyLayer([Node("MatMul", inputs: ["w", "x"], outputs: ["y"])], [weight("w", 2, 3)]))
    #expect(layer.kind == .leftMatrix && layer.axis == 0 && layer.input == "x" && layer.output == "" && text(layer.bias) == "none")
  }

  @Test func product_stackedWeights_haveNoMatrixForm() throws {
    let layer = try #require(try onlyLayer([Node("MatMul", inputs: ["x", "w"], outputs: ["y"])], [weight("w", 2, 3, 4)]))
    #expect(layer.kind == .other && layer.axis == 2 && layer.input == nil)
  }

  // MARK: On the way to the operand

  @Test func transposedWeight_turnsTheRows() throws {
    let nodes = [
      Node("Transpose", inputs: ["w"], outputs: ["t"], attributes: ["perm": .ints([1, 0])]),
      Node("MatMul", inputs: ["x", "t"], outputs: ["y"]),
    ]
    let layer = try #require(try onlyLayer(nodes, [weight("w", 3, 2)]))
    #expect(layer.kind == .matrix(rowsFirst: true) && layer.axis == 0 && layer.channels == 3 && layer.isMoved)
  }

  @Test func movedWeight_hasNoMatrixForm() throws {
    let nodes = [Node("Reshape", inputs: ["w", "shape"], outputs: ["r"]), Node("MatMul", inputs: ["x", "r"], outputs: ["y"])]
    let layer = try #require(try onlyLayer(nodes, [weight("w", 3, 2), integers("shape", 2, 3)]))
    #expect(layer.name == "w" && layer.kind == .other && layer.axis == 0 && layer.input == nil && layer.isMoved)
  }

  @Test func joinedWeights_areLayersEach() throws {
    let nodes = [
      Node("Concat", inputs: ["u", "v"], outputs: ["w"], attributes: ["axis": .int(1)]),
      Node("MatMul", inputs: ["x", "w"], outputs: ["y"]),
    ]
    let found = try LinearLayers(model(nodes, [weight("u", 2, 1), weight("v", 2, 2)]))
    #expect(found.layers.map(\.name) == ["u", "v"] && found.layers.allSatisfy { $0.kind == .other })
  }

  @Test func sharedWeight_isOneLayerWithoutAForm() throws {
    let nodes = [Node("MatMul", inputs: ["x", "w"], outputs: ["y"]), Node("MatMul", inputs: ["y", "w"], outputs: ["z"])]
    let layer = try #require(try onlyLayer(nodes, [weight("w", 2, 2)]))
    #expect(layer.kind == .other && layer.node.outputs == ["y"] && text(layer.bias) == "none")
  }

  @Test func computedFromConstants_isNoLayer() throws {
    let product = Node("MatMul", inputs: ["u", "w"], outputs: ["k"])
    let found = try LinearLayers(model([product, Node("Add", inputs: ["x", "k"], outputs: ["y"])], [weight("u", 2, 2), weight("w", 2, 2)]))
    #expect(found.layers.isEmpty)
  }

  @Test func integersVectorsAndOutputs_areNoLayers() throws {
    let codes = Initializer(name: "w", tensor: try Tensor([1, 2, 3, 4] as [Int64], shape: [2, 2]))
    #expect(try onlyLayer([Node("MatMul", inputs: ["x", "w"], outputs: ["y"])], [codes]) == nil)
    #expect(try onlyLayer([Node("MatMul", inputs: ["x", "w"], outputs: ["y"])], [weight("w", 4)]) == nil)
    var given = model([Node("MatMul", inputs: ["x", "w"], outputs: ["y"])], [try weight("w", 2, 2)])
    given.graph.outputs.append(value("w"))
    #expect(try LinearLayers(given).layers.isEmpty)
  }

  // MARK: Tables and recurrent networks

  @Test func table_hasNoInput() throws {
    let layer = try #require(try onlyLayer([Node("Gather", inputs: ["w", "x"], outputs: ["y"])], [weight("w", 5, 2)]))
    #expect(layer.kind == .table && layer.axis == 0 && layer.input == nil && layer.observed == [] && text(layer.bias) == "none")
    let across = Node("Gather", inputs: ["w", "x"], outputs: ["y"], attributes: ["axis": .int(1)])
    #expect(try #require(try onlyLayer([across], [weight("w", 5, 2)])).kind == .other)
  }

  @Test func lstm_recurrentWeight_seesTheStates() throws {
    let node = Node("LSTM", inputs: ["x", "w", "r"], outputs: ["y"], attributes: ["hidden_size": .int(2)])
    let layers = try LinearLayers(model([node], [weight("w", 1, 8, 3), weight("r", 1, 8, 2)])).layers
    #expect(layers.map(\.name) == ["w", "r"] && layers.map(\.axis) == [1, 1] && layers.map(\.output) == ["", ""])
    #expect(layers[0].kind == .matrix(rowsFirst: true) && layers[0].input == "x")
    let states = recurrentStates(node, direction: 0, gate: 0)
    #expect(layers[1].kind == .blocks([[states]]) && layers[1].observed == [states] && !layers[1].isSequential)
  }

  @Test func gru_bothDirections_areBlocks() throws {
    let attributes: [String: Attribute] = ["hidden_size": .int(2), "direction": .string(Array("bidirectional".utf8))]
    let node = Node("GRU", inputs: ["x", "w", "r"], outputs: ["y"], attributes: attributes)
    let layers = try LinearLayers(model([node], [weight("w", 2, 6, 3), weight("r", 2, 6, 2)])).layers
    func states(_ gate: Int) -> [String] { (0..<2).map { recurrentStates(node, direction: $0, gate: gate) } }
    #expect(layers[0].kind == .blocks([["x", "x"]]) && layers[0].observed == ["x"])
    // The candidate's rows multiply the reset state.
    #expect(layers[1].kind == .blocks([states(0), states(0), states(2)]))
    #expect(layers[1].observed == states(0) + states(2))
  }

  // MARK: Where weights stand

  @Test func constantNode_weightBecomesAnInitializer() throws {
    let found = try LinearLayers(model([constantNode(weight("w", 2, 3)), Node("MatMul", inputs: ["x", "w"], outputs: ["y"])]))
    #expect(found.layers.map(\.name) == ["w"] && found.constantNodes == ["w"])
    #expect(found.model.graph.nodes.map(\.operatorType) == ["MatMul"] && found.model.graph.initializers.map(\.name) == ["w"])
  }

  @Test func branchesAndBodies_areLookedInto() throws {
    func body(_ name: String) throws -> Graph {
      Graph(
        nodes: [Node("MatMul", inputs: ["x", name], outputs: ["\(name).y"])], initializers: [try weight(name, 2, 2)],
        outputs: [value("\(name).y")])
    }
    let nodes = [
      Node(
        "If", inputs: ["flag"], outputs: ["i"],
        attributes: ["then_branch": .graph(try body("u")), "else_branch": .graph(try body("v"))]),
      Node("Loop", inputs: ["n", "", "i"], outputs: ["y"], attributes: ["body": .graph(try body("w"))]),
    ]
    let found = try LinearLayers(model(nodes))
    #expect(found.layers.map(\.name) == ["v", "u", "w"])
    #expect(found.layers.map(\.isRepeated) == [false, false, true] && found.layers.map(\.isSequential) == [true, true, false])
    #expect(found.model.graph.initializers.map(\.name) == ["u", "v", "w"])
    #expect(found.model.graph.nodes.flatMap(\.subgraphs).flatMap(\.initializers).isEmpty)
  }

  @Test func function_weightIsOneOfAllCalls() throws {
    let function = Function(
      name: "F", domain: "local", inputs: ["a"], outputs: ["b"], attributeNames: [], attributeDefaults: [:],
      nodes: [constantNode(try weight("k", 2, 2)), Node("MatMul", inputs: ["a", "k"], outputs: ["b"])], opsets: ["": 17])
    let calls = [
      Node("F", domain: "local", inputs: ["x"], outputs: ["m"]), Node("F", domain: "local", inputs: ["m"], outputs: ["y"]),
    ]
    let one = try LinearLayers(model([calls[0]], functions: [function])).layers
    #expect(one.map(\.name) == ["F.k"] && one[0].kind == .matrix(rowsFirst: false) && one[0].input == "x" && one[0].output == "m")
    let two = try LinearLayers(model(calls, functions: [function])).layers
    #expect(two.map(\.name) == ["F.k"] && two[0].kind == .other)
  }

  @Test func halfPrecision_keepsItsTypeAndIsWidenedForTheEngine() throws {
    let half = try Conversion.convert(tensor(2, 2), to: .float16, ComputeContext())
    let found = try LinearLayers(model([Node("MatMul", inputs: ["x", "w"], outputs: ["y"])], [Initializer(name: "w", tensor: half)]))
    #expect(found.layers[0].elementType == .float16 && found.layers[0].biasType == .float16)
    #expect(try found.model.graph.initializers[0].tensor.array(as: Float.self) == [0, 1, 2, 3])
  }

  @Test func addedNames_stayClearOfTheModel() throws {
    let nodes = [Node("Identity", inputs: ["x"], outputs: ["w.cet.bias"]), Node("Conv", inputs: ["w.cet.bias", "w"], outputs: ["y"])]
    let layer = try #require(try onlyLayer(nodes, [weight("w", 2, 2, 1, 1)]))
    #expect(layer.biasName == "w.cet.bias_")
  }

  // MARK: What has no grid

  @Test func obstacle_namesTheFirstValueThatIsNotFinite() throws {
    let mask = Initializer(name: "w", tensor: try Tensor([0, 1, -.infinity, .nan] as [Float], shape: [2, 2]))
    let nodes = [Node("MatMul", inputs: ["x", "w"], outputs: ["y"]), Node("MatMul", inputs: ["y", "v"], outputs: ["z"])]
    let found = try LinearLayers(model(nodes, [mask, weight("v", 2, 2)]))
    #expect(found.obstacle(0) == "holds a value that is not finite at [1, 0]" && found.obstacle(1) == nil)
    for type in [ElementType.float16, .bfloat16] {
      #expect(firstNonFinite(try Conversion.convert(mask.tensor, to: type, ComputeContext())) == [1, 0])
    }
    #expect(firstNonFinite(try Tensor([1] as [Int64], shape: [1])) == nil)
  }
}
