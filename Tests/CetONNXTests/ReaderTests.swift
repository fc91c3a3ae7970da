import CetGraph
import CetTensor
import Testing

@testable import CetONNX

struct ReaderTests {
  static let fixtures = [
    "onnx/all_types", "onnx/structure", "onnx/linear", "onnx/old_ir", "onnx/tied", "onnx/constants", "onnx/branches",
    "onnx/external/model", "digits_cnn/model", "digits_cnn/model_opset21",
  ]

  @Test(arguments: fixtures)
  func model_fromFile_readsAsTheOnnxPackageReadsIt(name: String) throws {
    let file = try ModelFile(path: fixturePath(name + ".onnx"))
    #expect(ModelDump.text(file.model) == (try readText(fixturePath(name + ".dump"))))
  }

  @Test(arguments: fixtures.filter { !$0.contains("external") })
  func model_fromMemory_equalsModelFromFile(name: String) throws {
    let path = fixturePath(name + ".onnx")
    #expect(
      ModelDump.text(try ModelFile(bytes: readBytes(path)).model) == ModelDump.text(try ModelFile(path: path).model))
  }

  /// Whatever the place of the data in the file, tensors are aligned for their type.
  @Test func tensors_atAnyOffset_areAligned() throws {
    for padding in 0..<8 {
      var graph = Graph(name: String(repeating: "n", count: padding + 1))
      graph.initializers = [
        try initializer("w", floats(6), [2, 3]), try initializer("d", [1.5, 2.5] as [Double], [2]),
      ]
      let model = try ModelFile(bytes: unchecked(graph)).model
      for initializer in model.graph.initializers {
        #expect(UInt(bitPattern: initializer.tensor.pointer) % UInt(initializer.tensor.type.byteWidth) == 0)
      }
      #expect(try model.graph.initializers[0].tensor.array(as: Float.self) == floats(6))
      #expect(try model.graph.initializers[1].tensor.array(as: Double.self) == [1.5, 2.5])
    }
  }

  @Test func unalignedTensor_askedForByManyThreads_isCopiedOnce() throws {
    for padding in 0..<4 {
      var graph = Graph(name: String(repeating: "n", count: padding + 1))
      graph.initializers = [try initializer("w", floats(50_000), [50_000])]
      let tensor = try ModelFile(bytes: unchecked(graph)).model.graph.initializers[0].tensor
      try Workers(threads: 4).ordered(
        16, compute: { _ in tensor.floats[49_999] }, combine: { _, value in #expect(value == 49_999) })
    }
  }

  @Test func tensors_outliveTheirFile() throws {
    let tensor = try ModelFile(path: fixturePath("digits_cnn/model.onnx")).model.graph.initializers[0].tensor
    #expect(try tensor.array(as: Float.self).contains { $0 != 0 })
  }

  @Test func boolBytes_otherThanOne_readAsTrue() throws {
    var graph = Graph(name: "g")
    graph.initializers = [try codes("flags", .bool, [0, 1, 2, 255], [4])]
    let model = try ModelFile(bytes: unchecked(graph)).model
    #expect(try model.graph.initializers[0].tensor.array(as: Bool.self) == [false, true, true, true])
  }

  // MARK: What is refused

  @Test func file_missingOrNotRegular_isAnIOError() {
    #expect(
      errorOf { try ModelFile(path: "/nonexistent/m.onnx") }.message
        == "cannot open model '/nonexistent/m.onnx': No such file or directory")
    #expect(
      errorOf { try ModelFile(path: "/tmp") }.message
        == "cannot read model '/tmp': expected a regular file, got a directory")
    #expect(errorOf { try ModelFile(path: "/dev/null") }.code == .io)
  }

  @Test func file_empty_isInvalid() throws {
    let folder = TemporaryFolder()
    try writeBytes([], folder.path + "/m.onnx")
    let error = errorOf { try ModelFile(path: folder.path + "/m.onnx") }
    #expect(error.code == .invalidModel && error.message.hasSuffix("expected an ONNX model, got 0 bytes"))
    #expect(errorOf { try ModelFile(bytes: []) }.code == .invalidModel)
  }

  @Test func file_thatIsNotProtobuf_saysSo() throws {
    let text = Array("version https://git-lfs.github.com/spec/v1".utf8)
    #expect(errorOf { try ModelFile(bytes: text) }.message.hasPrefix("not a readable ONNX file: byte 0"))
  }

  @Test func model_withoutGraph_isInvalid() {
    #expect(errorOf { try ModelFile(bytes: [8, 8]) }.message.contains("without a graph"))
  }

  @Test(arguments: [5, 29, 0, -1])
  func opset_outOfRange_isInvalid(opset: Int) throws {
    let error = errorOf { try ModelFile(bytes: unchecked(Graph(name: "g"), opset: opset)) }
    #expect(error.message == "expected operator set 6 to 28, got \(opset)" && error.code == .invalidModel)
  }

  @Test(arguments: [7, 26]) func opset_atTheEnds_isRead(opset: Int) throws {
    #expect(try ModelFile(bytes: unchecked(Graph(name: "g"), opset: opset)).model.opset == opset)
  }

  @Test func irVersion_below3_isInvalid() throws {
    #expect(
      errorOf { try ModelFile(bytes: unchecked(Graph(name: "g"), irVersion: 2)) }.message.contains("IR version 3"))
  }

  private func graphError(_ change: (inout Graph) throws -> Void) -> String {
    errorOf {
      var graph = Graph(
        name: "g", nodes: [Node("Relu", name: "n1", inputs: ["x"], outputs: ["y"])], inputs: [value("x")],
        outputs: [value("y")])
      try change(&graph)
      return try ModelFile(bytes: unchecked(graph))
    }.message
  }

  @Test func graph_notSorted_namesNodeAndValue() {
    let message = graphError { $0.nodes.insert(Node("Neg", name: "n0", inputs: ["y"], outputs: ["z"]), at: 0) }
    #expect(message == "node 'n0': nothing before it produces its input 'y'")
  }

  @Test func graph_valueDefinedTwice_namesNodeAndValue() {
    #expect(
      graphError { $0.nodes.append(Node("Neg", inputs: ["x"], outputs: ["y"])) }
        == "node 'y': its output 'y' exists already")
    #expect(graphError { $0.nodes[0].outputs = ["x"] }.contains("'x' exists already"))
    #expect(graphError { $0.initializers = [try initializer("y", floats(1), [1])] }.contains("'y' exists already"))
    #expect(
      graphError { $0.initializers = [try initializer("w", floats(1), [1]), try initializer("w", floats(1), [1])] }
        == "initializer 'w': the graph defines it twice")
    #expect(graphError { $0.inputs.append($0.inputs[0]) } == "graph 'g': input 'x' is listed twice")
  }

  /// An accented letter in one character and in two: Swift's strings are equal, a runtime's are not.
  @Test func names_ofTheSameLook_areNotTheSame() {
    let (one, two) = ("caf\u{e9}", "cafe\u{301}")
    #expect(one == two)
    #expect(graphError { $0.inputs = [value(one)]; $0.nodes[0].inputs = [two] }.contains("nothing before it produces its input"))
    #expect(graphError { $0.nodes[0].outputs = [one]; $0.outputs = [value(two)] }.contains("nothing in the graph produces it"))
    #expect(
      graphError { $0.nodes[0].outputs = [one]; $0.nodes.append(Node("Neg", inputs: ["x"], outputs: [two])) }
        .contains("exists already (in characters that look the same"))
    #expect(graphError { $0.inputs = [value("x"), value(one), value(two)] }.contains("is listed twice (in characters"))
  }

  @Test func graph_outputThatNothingProduces_isInvalid() {
    #expect(graphError { $0.outputs = [value("q")] } == "output 'q': nothing in the graph produces it")
  }

  @Test func subgraph_readingALaterOuterValue_isInvalid() {
    let message = graphError {
      let body = Graph(
        name: "b", nodes: [Node("Neg", name: "in", inputs: ["y"], outputs: ["q"])], outputs: [value("q")])
      $0.nodes.insert(Node("Loop", name: "l", inputs: [], outputs: ["z"], attributes: ["body": .graph(body)]), at: 0)
    }
    #expect(message == "node 'in': nothing before it produces its input 'y'")
  }

  @Test func initializer_wrongByteCount_saysExpectedAndGot() throws {
    var tensor = WireWriter()
    tensor.integer(TensorField.dims, 4)
    tensor.integer(TensorField.dataType, 1)
    tensor.string(TensorField.name, "w")
    tensor.bytes(TensorField.rawData, [UInt8](repeating: 0, count: 12))
    #expect(
      errorOf { try ModelFile(bytes: model(tensor)) }.message
        == "initializer 'w' has 12 bytes, shape [4] float32 needs 16")
  }

  /// A model whose graph holds one initializer with these contents.
  private func model(_ tensor: WireWriter) -> [UInt8] {
    var graph = WireWriter()
    graph.message(GraphField.initializer, tensor)
    var model = WireWriter()
    model.integer(ModelField.irVersion, 8)
    model.message(ModelField.graph, graph)
    return Array(model)
  }

  @Test func initializer_hugeShapeOverLittleData_isAnErrorBeforeAllocation() {
    for type in ElementType.float32.rawValue...ElementType.int2.rawValue {
      for dims in [[1 << 40], [1 << 62, 4], [-1], [1 << 20, 1 << 20]] as [[Int64]] {
        for field in [
          TensorField.rawData, TensorField.int32Data, TensorField.int64Data, TensorField.uint64Data,
          TensorField.floatData, TensorField.doubleData, TensorField.stringData,
        ] {
          var tensor = WireWriter()
          for size in dims { tensor.integer(TensorField.dims, size) }
          tensor.integer(TensorField.dataType, Int64(type))
          tensor.string(TensorField.name, "w")
          tensor.bytes(field, [UInt8](repeating: 0, count: 16))
          let error = errorOf { try ModelFile(bytes: model(tensor)) }
          #expect(error.code == .invalidModel)
          #expect(error.message.hasPrefix("initializer 'w'"))
        }
      }
    }
  }

  @Test func initializer_withoutType_isInvalid() {
    var tensor = WireWriter()
    tensor.string(TensorField.name, "w")
    #expect(errorOf { try ModelFile(bytes: model(tensor)) }.message == "initializer 'w': the element type is undefined")
  }

  @Test func nesting_beyondTheLimit_isAnErrorNotACrash() throws {
    var graph = Graph(name: "deepest")
    for _ in 0..<200 {
      graph = Graph(
        name: "g", nodes: [Node("If", inputs: [], outputs: ["y"], attributes: ["then_branch": .graph(graph)])])
    }
    #expect(errorOf { try ModelFile(bytes: unchecked(graph)) }.message.contains("nest deeper than 100"))
  }
}
