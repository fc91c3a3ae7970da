import CetFormats
import CetGraph
import CetTensor
import Glibc
import Testing

@testable import CetONNX

struct WriterTests {
  private func fixture(_ name: String) throws -> ModelFile { try ModelFile(path: fixturePath(name + ".onnx")) }

  /// Edits of many kinds, with the fixture each applies to.
  static func edits() throws -> [(name: String, fixture: String, edit: ModelEdit)] {
    var changed = ModelEdit()  // float weights replaced in place, same type
    changed.initializers = [try initializer("w", floats(20, 0.01), [4, 5])]
    changed.metadata = [("cet.plan", "{}"), ("cet.seed", "1")]

    // w = DequantizeLinear(codes): int4 needs opset 21 and IR 10.
    var quantized = ModelEdit()
    quantized.removedInitializers = ["w"]
    quantized.initializers = [
      try codes("w.codes", .int4, (0..<20).map { $0 < 10 ? $0 % 8 : UInt8(truncatingIfNeeded: -Int($0) % 8) }, [4, 5]),
      try initializer("w.scale", [0.5, 0.25, 0.125, 1, 2] as [Float], [5]),
    ]
    quantized.leadingNodes = [
      Node(
        "DequantizeLinear", name: "w.dq", inputs: ["w.codes", "w.scale"], outputs: ["w"], attributes: ["axis": .int(1)])
    ]
    quantized.minimumOpset = 21
    quantized.minimumIRVersion = 10

    var bytes = ModelEdit()  // uint8 codes at an opset that every file has: Cast, Sub, Mul
    bytes.removedInitializers = ["w"]
    bytes.initializers = [
      try initializer("w.codes", (0..<20).map { UInt8($0 * 12) }, [4, 5]),
      try initializer("w.scale", [0.01] as [Float], []), try initializer("w.zero", [128] as [Float], []),
    ]
    bytes.leadingNodes = [
      Node("Cast", inputs: ["w.codes"], outputs: ["w.float"], attributes: ["to": .int(1)]),
      Node("Sub", inputs: ["w.float", "w.zero"], outputs: ["w.centred"]),
      Node("Mul", inputs: ["w.centred", "w.scale"], outputs: ["w"]),
    ]

    var constant = ModelEdit()  // the Constant's weight becomes an initializer
    constant.replacedNodes = ["w": []]
    constant.initializers = [try initializer("w", floats(16, 0.1), [4, 4])]

    var nodes = ModelEdit()  // one node becomes two
    nodes.replacedNodes = [
      "y": [
        Node("MatMul", name: "second", inputs: ["h", "v"], outputs: ["y0"]),
        Node("Clip", inputs: ["y0", "low"], outputs: ["y"]),
      ]
    ]
    nodes.initializers = [try initializer("low", [-0.5] as [Float], [])]

    return [
      ("nothing", "onnx/linear", ModelEdit()), ("changed", "onnx/linear", changed),
      ("changed_old", "onnx/old_ir", changed),
      ("int4", "onnx/linear", quantized), ("int4_tied", "onnx/tied", quantized), ("bytes", "onnx/linear", bytes),
      ("bytes_old", "onnx/old_ir", bytes), ("constant", "onnx/constants", constant), ("nodes", "onnx/linear", nodes),
      ("external", "onnx/external/model", ModelEdit()),
      (
        "branches", "onnx/branches",
        {
          var edit = ModelEdit()
          edit.metadata = [("a", "b")]
          return edit
        }()
      ),
      ("digits", "digits_cnn/model", ModelEdit()), ("digits21", "digits_cnn/model_opset21", ModelEdit()),
    ]
  }

  @Test(arguments: ReaderTests.fixtures.filter { !$0.contains("external") })
  func emptyEdit_copiesEveryByte(name: String) throws {
    let output = try ModelWriter.write(edit: ModelEdit(), of: fixture(name))
    #expect(output == (try readBytes(fixturePath(name + ".onnx"))))
  }

  /// The file reads back as what the same edit makes of the model in memory, and has the promised size.
  @Test func everyEdit_readsBackAsTheEditedModel() throws {
    let folder = TemporaryFolder()
    for (name, fixture, edit) in try WriterTests.edits() {
      let file = try self.fixture(fixture)
      let output = try ModelWriter.write(edit: edit, of: file)
      let expected = ModelDump.text(try edit.applied(to: file.model))
      #expect(ModelDump.text(try ModelFile(bytes: output).model) == expected, "\(name)")
      #expect(try ModelWriter.size(edit: edit, of: file) == output.count, "\(name)")
      let path = folder.path + "/\(name).onnx"
      try ModelWriter.write(edit: edit, of: file, toFile: path)
      #expect(try readBytes(path) == output, "\(name)")
    }
    #expect(folder.names.allSatisfy { $0.hasSuffix(".onnx") })
  }

  @Test func versions_areRaisedWhenLowerAndNeverLowered() throws {
    let file = try fixture("digits_cnn/model_opset21")
    var edit = ModelEdit()
    edit.minimumOpset = 13
    edit.minimumIRVersion = 4
    #expect(try ModelWriter.write(edit: edit, of: file) == file.withBytes { Array($0) })
    edit.minimumOpset = 25
    edit.minimumIRVersion = 13
    for name in ["digits_cnn/model", "digits_cnn/model_opset21", "onnx/structure"] {  // the first names no domain
      let raised = try ModelFile(bytes: ModelWriter.write(edit: edit, of: fixture(name))).model
      #expect(raised.opset == 25 && raised.irVersion == 13)
    }
  }

  @Test func metadata_isReplacedInPlaceAndAppended() throws {
    let file = try fixture("onnx/structure")
    var edit = ModelEdit()
    edit.metadata = [("new", "1"), ("author", "somebody")]
    let metadata = try ModelFile(bytes: ModelWriter.write(edit: edit, of: file)).model.metadata
    #expect(metadata.map(\.key) == ["author", "üñí", "new"])
    #expect(metadata[0].value == "somebody")
  }

  /// Fields that we do not know, texts, sparse and newer tensors stay, byte for byte, around an edit.
  @Test func unknownFields_surviveAnEdit() throws {
    let file = try fixture("onnx/structure")
    var edit = ModelEdit()
    edit.initializers = [try initializer("w", floats(2), [2])]
    edit.replacedNodes = ["y": [Node("Neg", inputs: ["g"], outputs: ["y"])]]
    let output = try ModelWriter.write(edit: edit, of: file)
    for text in ["says nothing", "graph text", "model text", "hello", "odd", "sparse", "indices", "12345678"] {
      #expect(output.contains(Array(text.utf8)), "\(text)")
    }
    #expect(try ModelDump.text(ModelFile(bytes: output).model) == ModelDump.text(edit.applied(to: file.model)))
    #expect(Array(output.suffix(26)) == file.withBytes { Array($0.suffix(26)) })
  }

  @Test func oldIR_keepsInitializersListedAsInputs() throws {
    let file = try fixture("onnx/old_ir")
    var edit = ModelEdit()
    edit.removedInitializers = ["w"]
    edit.initializers = [try initializer("v", floats(10), [5, 2]), try initializer("w2", floats(20), [4, 5])]
    edit.replacedNodes = ["h": [Node("MatMul", inputs: ["x", "w2"], outputs: ["h"])]]
    let inputs = try ModelFile(bytes: ModelWriter.write(edit: edit, of: file)).model.graph.inputs
    #expect(inputs.map(\.name) == ["x", "v", "w2"])
    #expect(inputs[1].shape == [.fixed(5), .fixed(2)])
  }

  @Test func valueInfo_ofARetypedInitializer_goes() throws {
    let file = try fixture("onnx/linear")
    let before = file.withBytes { Array($0) }.occurrences(of: [10, 1, 119, 18, 14])  // ValueInfo 'w'
    #expect(before == 1)
    var edit = ModelEdit()
    edit.initializers = [try initializer("w", [1, 2] as [Int64], [2])]
    #expect(try ModelWriter.write(edit: edit, of: file).occurrences(of: [10, 1, 119, 18, 14]) == 0)
  }

  @Test(arguments: [(ElementType.int4, 4), (.uint4, 4), (.float4e2m1, 4), (.int2, 2), (.uint2, 2)])
  func subByteTypes_ofEveryLength_roundTrip(type: ElementType, bits: Int) throws {
    for count in 0...9 {
      let values = (0..<count).map { index -> UInt8 in
        let code = UInt8(index * 3 % (1 << bits))
        let isNegative = (type == .int4 || type == .int2) && code >> (bits - 1) == 1
        return isNegative ? code | (0xFF << bits) : code
      }
      var graph = Graph(name: "g")
      graph.initializers = [try codes("c", type, values, [count])]
      let output = try ModelWriter.write(Model(opsets: ["": 25], graph: graph))
      #expect(bytes(of: try ModelFile(bytes: output).model.graph.initializers[0].tensor) == values)
    }
  }

  @Test func wholeModel_writtenAnew_readsTheSame() throws {
    for name in ["onnx/linear", "onnx/old_ir", "onnx/constants", "onnx/branches", "digits_cnn/model_opset21"] {
      let model = try fixture(name).model
      #expect(ModelDump.text(try ModelFile(bytes: ModelWriter.write(model)).model) == ModelDump.text(model))
    }
  }

  @Test func sameEdit_givesTheSameBytes() throws {
    var edit = ModelEdit()
    let names = (0..<20).map { "a\($0)" }
    edit.leadingNodes = [
      Node(
        "Op", domain: "d", inputs: [], outputs: ["o"],
        attributes: Dictionary(uniqueKeysWithValues: names.map { ($0, .int(1)) }))
    ]
    let file = try fixture("onnx/linear")
    let first = try ModelWriter.write(edit: edit, of: file)
    #expect(try ModelWriter.write(edit: edit, of: file) == first)
    let sorted = names.sorted().compactMap { first.firstPosition(of: [10, UInt8($0.utf8.count)] + Array($0.utf8)) }
    #expect(sorted == sorted.sorted() && sorted.count == names.count)
  }

  /// Pieces of every size around those where the file's buffer changes its way of writing.
  @Test func file_ofSmallAndLargePieces_keepsTheirOrder() throws {
    let storage = try Storage(byteCount: 200_000)
    for index in 0..<200_000 {
      storage.pointer.storeBytes(of: UInt8(truncatingIfNeeded: index &* 31), toByteOffset: index, as: UInt8.self)
    }
    let folder = TemporaryFolder()
    var random = Random(seed: 5)
    var output = WireWriter()
    for size in [10, 33_000, 10, 32_768, 32_768, 32_769, 65_536, 65_537, 1, 0, 200_000]
      + (0..<40).map({ _ in Int(random.next() % 70_000) })
    {
      output.append(borrowing: UnsafeRawBufferPointer(start: storage.pointer, count: size), keeper: storage)
      output.string(3, "between")
    }
    for (count, bits) in [(1, 4), (9, 2), (150_001, 4)] {
      let codes = UnsafeRawBufferPointer(start: storage.pointer, count: count)
      let before = output.byteCount
      output.append(packing: codes, bits: bits, keeper: storage)
      #expect(Array(output).dropFirst(before) == BitPacking.pack(codes, bits: bits)[...])
    }
    let file = try PendingFile(folder.path + "/f")
    try file.write(output)
    try file.commit()
    #expect(try readBytes(folder.path + "/f") == Array(output))
  }

  @Test func laidOutModel_standsAtItsPathAsItsBytesSay() throws {
    let folder = TemporaryFolder()
    let path = folder.path + "/m.onnx"
    let file = try fixture("onnx/linear")
    var edit = ModelEdit()
    edit.initializers = [try initializer("v", floats(500), [500]), try codes("c", .uint4, [UInt8](repeating: 3, count: 77), [77])]
    let output = try ModelWriter.layOut(edit: edit, of: file, toFile: path)
    #expect(folder.names.isEmpty)
    try output.write()
    let written = try readBytes(path)
    #expect(written == output.bytes())
    #expect(try written == ModelWriter.write(edit: edit, of: file))
  }

  // MARK: What is refused

  @Test func edit_thatDoesNotFit_isRefusedBeforeWriting() throws {
    let file = try fixture("onnx/linear")
    let folder = TemporaryFolder()
    func message(_ change: (inout ModelEdit) throws -> Void) -> String {
      errorOf {
        var edit = ModelEdit()
        try change(&edit)
        try ModelWriter.write(edit: edit, of: file, toFile: folder.path + "/m.onnx")
      }.message
    }
    #expect(message { $0.replacedNodes = ["z": []] } == "the edit replaces the node that makes 'z', the graph has none")
    #expect(
      message { $0.removedInitializers = ["w"] }.contains("node 'first': nothing before it produces its input 'w'"))
    #expect(
      message { $0.initializers = [try initializer("a", floats(1), [1]), try initializer("a", floats(1), [1])] }
        == "the edit gives initializer 'a' twice")
    #expect(message { $0.minimumOpset = 99 }.contains("operator set"))
    #expect(
      message { $0.initializers = [Initializer(name: "s", tensor: try Tensor.zeros(.string, [1]))] }.contains("string"))
    #expect(folder.names.isEmpty)
  }

  @Test func file_thatCannotBeWritten_leavesNothing() throws {
    let file = try fixture("onnx/linear")
    let folder = TemporaryFolder()
    for path in ["/nonexistent/m.onnx", folder.path, "/dev/null", ""] {
      #expect(
        [.io, .invalidArgument].contains(
          errorOf { try ModelWriter.write(edit: ModelEdit(), of: file, toFile: path) }.code))
    }
    #expect(folder.names.isEmpty)
  }

  @Test func file_overItsOwnSource_isRefused() throws {
    let folder = TemporaryFolder()
    let path = folder.path + "/m.onnx"
    try writeBytes(try readBytes(fixturePath("onnx/linear.onnx")), path)
    let before = try readBytes(path)
    #expect(symlink(path, folder.path + "/soft.onnx") == 0 && link(path, folder.path + "/hard.onnx") == 0)
    let file = try ModelFile(path: folder.path + "/soft.onnx")
    for name in ["m.onnx", "soft.onnx", "hard.onnx", "./m.onnx"] {
      let target = folder.path + "/" + name
      #expect(errorOf { try ModelWriter.write(edit: ModelEdit(), of: file, toFile: target) }.code == .invalidArgument)
      #expect(file.reads(path: target))
    }
    #expect(try readBytes(path) == before && folder.names == ["hard.onnx", "m.onnx", "soft.onnx"])
    #expect(!file.reads(path: folder.path) && !file.reads(path: folder.path + "/nowhere"))
  }
}

extension Array where Element == UInt8 {
  func firstPosition(of pattern: [UInt8]) -> Int? {
    guard count >= pattern.count else { return nil }
    return (0...(count - pattern.count)).first { self[$0..<($0 + pattern.count)].elementsEqual(pattern) }
  }

  func contains(_ pattern: [UInt8]) -> Bool { firstPosition(of: pattern) != nil }

  func occurrences(of pattern: [UInt8]) -> Int {
    guard count >= pattern.count else { return 0 }
    return (0...(count - pattern.count)).filter { self[$0..<($0 + pattern.count)].elementsEqual(pattern) }.count
  }
}
