import CetGraph
import CetTensor
import Glibc
import Testing

@testable import CetONNX

struct ExternalDataTests {
  /// A model file with one float32 [4] initializer 'w' whose data is elsewhere.
  private func model(_ entries: [(String, String)]) -> [UInt8] {
    var tensor = WireWriter()
    tensor.integer(TensorField.dims, 4)
    tensor.integer(TensorField.dataType, 1)
    tensor.string(TensorField.name, "w")
    let encoder = MessageEncoder()
    for (key, value) in entries { tensor.message(TensorField.externalData, encoder.entry(key, value)) }
    tensor.integer(TensorField.dataLocation, 1)
    var graph = WireWriter()
    graph.message(GraphField.initializer, tensor)
    var model = WireWriter()
    model.integer(ModelField.irVersion, 8)
    model.message(ModelField.graph, graph)
    return Array(model)
  }

  private func open(_ entries: [(String, String)], in folder: TemporaryFolder) throws -> ModelFile {
    try writeBytes(model(entries), folder.path + "/m.onnx")
    return try ModelFile(path: folder.path + "/m.onnx")
  }

  private func folderWithData(_ count: Int = 40) throws -> TemporaryFolder {
    let folder = TemporaryFolder()
    try writeBytes((0..<count).map { UInt8($0) }, folder.path + "/w.bin")
    return folder
  }

  private func firstBytes(_ file: ModelFile) -> [UInt8] { bytes(of: file.model.graph.initializers[0].tensor) }

  @Test func offsetAndLength_selectTheBytes() throws {
    let folder = try folderWithData()
    #expect(firstBytes(try open([("location", "w.bin")], in: folder)) == Array(0..<16))
    #expect(firstBytes(try open([("location", "w.bin"), ("offset", "24")], in: folder)) == Array(24..<40))
    #expect(
      firstBytes(try open([("location", "w.bin"), ("offset", "3"), ("length", "16")], in: folder)) == Array(3..<19))
  }

  @Test(arguments: [
    [("offset", "25")], [("offset", "41")], [("offset", "-1")], [("offset", "x")], [("length", "12")],
    [("offset", "9223372036854775807")], [("offset", "99999999999999999999")], [("length", "99999999999999999999")],
  ])
  func offsetOrLength_outsideTheFile_isAnError(entries: [(String, String)]) throws {
    let folder = try folderWithData()
    let error = errorOf { try open([("location", "w.bin")] + entries, in: folder) }
    #expect(error.code == .invalidModel && error.message.contains("initializer 'w'"))
  }

  @Test(arguments: [
    "/etc/passwd", "../w.bin", "sub/../../w.bin", "..", "", "nothing.bin", ".", "link", "linkdir/passwd",
  ])
  func location_outsideTheFolderOrMissing_isAnError(location: String) throws {
    let folder = try folderWithData()
    symlink("/etc/passwd", folder.path + "/link")
    symlink("/etc", folder.path + "/linkdir")
    let error = errorOf { try open([("location", location)], in: folder) }
    #expect(error.code == .invalidModel || error.code == .io)
    #expect(error.message.contains("initializer 'w'"))
  }

  @Test func symbolicLink_thatStaysInside_isFollowed() throws {
    let folder = try folderWithData()
    symlink("w.bin", folder.path + "/link")
    #expect(firstBytes(try open([("location", "link")], in: folder)) == Array(0..<16))
  }

  /// A download cache keeps files under their checksums, and a folder of links beside them.
  @Test func modelAndData_linkedFromOneFolder_areRead() throws {
    let folder = try folderWithData()
    mkdir(folder.path + "/snapshot", 0o777)
    try writeBytes(model([("location", "data")]), folder.path + "/blob")
    symlink("../blob", folder.path + "/snapshot/m.onnx")
    symlink("../w.bin", folder.path + "/snapshot/data")
    #expect(firstBytes(try ModelFile(path: folder.path + "/snapshot/m.onnx")) == Array(0..<16))
  }

  @Test func modelFromMemory_saysThatItCannotReachTheData() throws {
    let message = errorOf { try ModelFile(bytes: model([("location", "w.bin")])) }.message
    #expect(
      message == "initializer 'w': its data is in the file 'w.bin', which a model loaded from memory cannot reach")
  }

  @Test func location_missing_isAnError() throws {
    #expect(errorOf { try open([("offset", "0")], in: folderWithData()) }.message.contains("no location"))
  }

  // MARK: Writing

  @Test func write_takesTheDataIntoTheModel() throws {
    let file = try ModelFile(path: fixturePath("onnx/external/model.onnx"))
    #expect(file.externalByteCount == 3 * 64)
    let output = try ModelWriter.write(edit: ModelEdit(), of: file)
    let copy = try ModelFile(bytes: output)
    #expect(copy.externalTensors.isEmpty)
    #expect(ModelDump.text(copy.model) == ModelDump.text(file.model))
  }

  /// A model with two external weights of 80 KB, one of them read by an edit.
  private func large(in folder: TemporaryFolder) throws -> ModelFile {
    let encoder = MessageEncoder()
    var data = WireWriter()
    var graph = WireWriter()
    for (name, scale) in [("a", Float(1)), ("b", 2)] {
      var tensor = WireWriter()
      tensor.integer(TensorField.dims, 20_000)
      tensor.integer(TensorField.dataType, 1)
      tensor.string(TensorField.name, name)
      for (key, value) in [("location", "in.bin"), ("offset", String(data.byteCount)), ("length", "80000")] {
        tensor.message(TensorField.externalData, encoder.entry(key, value))
      }
      tensor.integer(TensorField.dataLocation, 1)
      graph.message(GraphField.initializer, tensor)
      for value in floats(20_000, scale) {
        for shift in 0..<4 { data.append(byte: UInt8(truncatingIfNeeded: value.bitPattern >> (8 * shift))) }
      }
    }
    var model = WireWriter()
    model.integer(ModelField.irVersion, 8)
    model.message(ModelField.graph, graph)
    try writeBytes(Array(model), folder.path + "/in.onnx")
    try writeBytes(Array(data), folder.path + "/in.bin")
    return try ModelFile(path: folder.path + "/in.onnx")
  }

  @Test func write_beyondTheLimit_putsLargeTensorsBesideTheModel() throws {
    let (source, target) = (TemporaryFolder(), TemporaryFolder())
    let file = try large(in: source)
    var edit = ModelEdit()
    edit.initializers = [try initializer("c", floats(30_000, 3), [30_000]), try initializer("small", floats(4), [4])]
    let path = target.path + "/out.onnx"
    try ModelWriter.write(edit: edit, of: file, toFile: path, limit: 100_000)
    #expect(target.names == ["out.onnx", "out.onnx.data"])
    let copy = try ModelFile(path: path)
    #expect(try ModelDump.text(copy.model) == ModelDump.text(edit.applied(to: file.model)))
    #expect(copy.externalTensors.count == 3)
    for tensor in copy.externalTensors { #expect(tensor.offset % 4096 == 0) }
  }

  @Test func write_overTheExternalSourceItself_isRefused() throws {
    let folder = TemporaryFolder()
    let file = try large(in: folder)
    // The third would put its tensors into the source's.
    #expect(symlink(folder.path + "/in.bin", folder.path + "/out.onnx.data") == 0)
    for name in ["in.onnx", "in.bin", "out.onnx"] {
      let path = folder.path + "/" + name
      let error = errorOf { try ModelWriter.write(edit: ModelEdit(), of: file, toFile: path, limit: 100_000) }
      #expect(error.code == .invalidArgument && error.message.contains("loaded from"))
    }
    #expect(folder.names == ["in.bin", "in.onnx", "out.onnx.data"])
    #expect(ModelDump.text(try ModelFile(path: folder.path + "/in.onnx").model) == ModelDump.text(file.model))
  }

  @Test func write_toMemoryBeyondTheLimit_saysWhatToDo() throws {
    let source = TemporaryFolder()
    let file = try large(in: source)
    let error = errorOf { _ = try ModelWriter.write(edit: ModelEdit(), of: file, limit: 100_000) }
    #expect(error.message.contains("save it to a path"))
  }

  @Test func size_beyondTheLimit_isThatOfBothFilesAndWithoutAPathNoLess() throws {
    let (source, target) = (TemporaryFolder(), TemporaryFolder())
    let file = try large(in: source)
    let path = target.path + "/out.onnx"
    try ModelWriter.write(edit: ModelEdit(), of: file, toFile: path, limit: 100_000)
    let copy = try ModelFile(path: path)
    let written = copy.byteCount + (copy.externalTensors.map { $0.data.byteCount }.reduce(0) { ($0 + 4095) / 4096 * 4096 + $1 })
    #expect(try ModelWriter.size(edit: ModelEdit(), of: file, toFile: path, limit: 100_000) == written)
    let most = try ModelWriter.size(edit: ModelEdit(), of: file, toFile: nil, limit: 100_000)
    #expect(most >= written && most <= written + 300 * copy.externalTensors.count)
  }

  @Test func write_thatNoFileHolds_isRefused() throws {
    let folder = TemporaryFolder()
    let file = try ModelFile(path: fixturePath("onnx/structure.onnx"))
    let error = errorOf {
      try ModelWriter.write(edit: ModelEdit(), of: file, toFile: folder.path + "/m.onnx", limit: 1000)
    }
    #expect(error.message.contains("an ONNX file holds at most 1000"))
    #expect(folder.names.isEmpty)
  }
}
