import CetGraph
import CetTensor
import Glibc
import Testing

@testable import CetONNX

/// Files for other readers to judge: with CET_WRITTEN_MODELS=FOLDER every edited model is left in that folder,
/// where Tests/python/test_written_models.py opens, checks and runs it. CET_EXTRA_MODELS may name more models,
/// separated by ":".
struct WrittenModelsTests {
  /// Every float32 matrix or kernel as uint8 codes that Cast, Sub and Mul turn back into floats, made in
  /// front of the graph: initializers removed and added, and nodes inserted, all over a real model.
  static func bytesEverywhere(_ model: Model) throws -> ModelEdit {
    var edit = ModelEdit()
    for initializer in model.graph.initializers
    where initializer.tensor.type == .float32 && initializer.tensor.rank >= 2 {
      let name = initializer.name
      let values = try initializer.tensor.array(as: Float.self)
      let scale = max((values.map(abs).max() ?? 0) / 127, 1e-9)
      let codes = values.map { UInt8(max(0, min(255, ($0 / scale).rounded() + 128))) }
      edit.removedInitializers.insert(name)
      edit.initializers.append(
        Initializer(name: name + ".codes", tensor: try Tensor(codes, shape: initializer.tensor.shape)))
      edit.initializers.append(Initializer(name: name + ".scale", tensor: try Tensor(scalar: scale)))
      edit.leadingNodes += [
        Node("Cast", inputs: [name + ".codes"], outputs: [name + ".float"], attributes: ["to": .int(1)]),
        Node("Sub", inputs: [name + ".float", "cet.zero"], outputs: [name + ".centred"]),
        Node("Mul", inputs: [name + ".centred", name + ".scale"], outputs: [name]),
      ]
    }
    edit.initializers.append(Initializer(name: "cet.zero", tensor: try Tensor(scalar: Float(128))))
    edit.minimumOpset = 13
    edit.metadata = [("cet.test", "bytes")]
    return edit
  }

  @Test func writtenModels_areLeftForOtherReaders() throws {
    let kept = getenv("CET_WRITTEN_MODELS").map { String(cString: $0) }
    let temporary = TemporaryFolder()
    let folder = kept ?? temporary.path
    for (name, fixture, edit) in try WriterTests.edits() {
      let file = try ModelFile(path: fixturePath(fixture + ".onnx"))
      try ModelWriter.write(edit: edit, of: file, toFile: "\(folder)/\(name).onnx")
    }
    let extra = getenv("CET_EXTRA_MODELS").map { String(cString: $0).split(separator: ":").map(String.init) } ?? []
    let real = ["digits_cnn/model", "digits_cnn/model_opset21"].map { fixturePath($0 + ".onnx") } + extra
    for (index, path) in real.enumerated() {
      let file = try ModelFile(path: path)
      let edit = try WrittenModelsTests.bytesEverywhere(file.model)
      let output = "\(folder)/real\(index).bytes.onnx"
      try ModelWriter.write(edit: edit, of: file, toFile: output)
      #expect(try ModelFile(path: output).byteCount == ModelWriter.size(edit: edit, of: file))
      try ModelWriter.write(edit: ModelEdit(), of: file, toFile: "\(folder)/real\(index).same.onnx")
      #expect(try ModelDump.text(ModelFile(path: output).model) == ModelDump.text(edit.applied(to: file.model)))
      try writeBytes(Array(path.utf8), "\(folder)/real\(index).source")
    }
    // Protobuf's limit in small, so that the form with a data file is judged too.
    let digits = try ModelFile(path: fixturePath("digits_cnn/model.onnx"))
    try ModelWriter.write(edit: ModelEdit(), of: digits, toFile: "\(folder)/whole.onnx")
    let external = try ModelFile(path: fixturePath("onnx/external/model.onnx"))
    var edit = ModelEdit()
    edit.initializers = [
      try initializer("w", floats(16, 0.5), [4, 4]), try initializer("unused", floats(8192), [8192]),
    ]
    try ModelWriter.write(edit: edit, of: external, toFile: "\(folder)/split.onnx", limit: 20_000)
    #expect(try ModelFile(path: "\(folder)/split.onnx").externalTensors.count == 1)
  }
}
