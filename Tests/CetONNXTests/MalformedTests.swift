import CetGraph
import CetTensor
import Testing

@testable import CetONNX

/// Whatever the bytes are, the reader gives a model or a `CetError`; a trap would end the test process.
struct MalformedTests {
  static let names = ["structure", "all_types", "old_ir", "branches", "constants", "external/model"]

  /// Reads, and uses what was read: every tensor's bytes, a dump, and a rewrite.
  private func exercise(_ data: [UInt8]) throws -> Bool {
    do {
      let file = try ModelFile(bytes: data)
      _ = ModelDump.text(file.model)
      var edit = ModelEdit()
      edit.metadata = [("k", "v")]
      edit.minimumOpset = 25
      if let first = file.model.graph.initializers.first { edit.initializers = [first] }
      let output = try ModelWriter.write(edit: edit, of: file)
      _ = try ModelFile(bytes: output)
      return true
    } catch {
      return false
    }
  }

  @Test(arguments: names)
  func truncation_atEveryByte_isAnErrorOrAModel(name: String) throws {
    let data = try readBytes(fixturePath("onnx/\(name).onnx"))
    for length in 0..<data.count { _ = try exercise(Array(data.prefix(length))) }
  }

  @Test(arguments: names)
  func everyByte_setToExtremes_isAnErrorOrAModel(name: String) throws {
    let data = try readBytes(fixturePath("onnx/\(name).onnx"))
    for position in data.indices {
      for value in [0x00, 0xFF] as [UInt8] where data[position] != value {
        var broken = data
        broken[position] = value
        _ = try exercise(broken)
      }
    }
  }

  @Test(arguments: names)
  func randomDamage_isAnErrorOrAModel(name: String) throws {
    let data = try readBytes(fixturePath("onnx/\(name).onnx"))
    var random = Random(seed: 7)
    for _ in 0..<1000 {
      var broken = data
      for _ in 0...Int(random.next() % 6) {
        let position = Int(random.next() % UInt64(broken.count))
        switch random.next() % 4 {
        case 0: broken[position] ^= 1 << UInt8(random.next() % 8)
        case 1: broken[position] = UInt8(truncatingIfNeeded: random.next())
        case 2: broken.remove(at: position)
        default: broken.insert(UInt8(truncatingIfNeeded: random.next()), at: position)
        }
      }
      _ = try exercise(broken)
    }
  }

  @Test func randomBytes_areAnErrorOrAModel() throws {
    var random = Random(seed: 11)
    for _ in 0..<20_000 {
      let count = Int(random.next() % 64)
      _ = try exercise((0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) })
    }
  }

  /// Damage in a model whose external files exist reaches the checks of locations and offsets.
  @Test func randomDamage_withExternalFiles_isAnErrorOrAModel() throws {
    let folder = TemporaryFolder()
    let data = try readBytes(fixturePath("onnx/external/model.onnx"))
    try writeBytes(try readBytes(fixturePath("onnx/external/weights.bin")), folder.path + "/weights.bin")
    var random = Random(seed: 13)
    for _ in 0..<1000 {
      var broken = data
      broken[Int(random.next() % UInt64(data.count))] = UInt8(truncatingIfNeeded: random.next())
      try writeBytes(broken, folder.path + "/model.onnx")
      do {
        let file = try ModelFile(path: folder.path + "/model.onnx")
        _ = try ModelWriter.write(edit: ModelEdit(), of: file)
      } catch {}
    }
  }
}
