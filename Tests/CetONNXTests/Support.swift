import CetFormats
import CetGraph
import CetTensor
import Glibc
import Testing

@testable import CetONNX

/// Checked-in files under Tests/Fixtures, made by tools/make_fixtures.py.
func fixturePath(_ name: String, file: String = #filePath) -> String {
  file.split(separator: "/").dropLast(2).reduce("") { $0 + "/" + $1 } + "/Fixtures/" + name
}

func readBytes(_ path: String) throws -> [UInt8] {
  let file = try FileSource(path: path, what: "file")
  let held = try HeldBytes(0..<file.byteCount, of: file)
  return withExtendedLifetime(held) { Array(held.bytes) }
}

func readText(_ path: String) throws -> String { String(decoding: try readBytes(path), as: UTF8.self) }

func writeBytes(_ bytes: [UInt8], _ path: String) throws {
  let file = try PendingFile(path)
  var output = WireWriter()
  output.append(bytes)
  try file.write(output)
  try file.commit()
}

/// A folder that goes when the test ends.
final class TemporaryFolder {
  let path: String

  init() {
    var template = Array("/tmp/cet-test-XXXXXX".utf8CString)
    path = template.withUnsafeMutableBufferPointer { buffer in
      guard let start = buffer.baseAddress, mkdtemp(start) != nil else { return "/nonexistent" }
      return String(cString: start)
    }
  }

  deinit { remove(path) }

  private func remove(_ item: String) {
    for name in list(item) {
      let child = item + "/" + name
      if unlink(child) != 0 { remove(child) }
    }
    rmdir(item)
  }

  /// Names in the folder, hidden ones included, in order.
  var names: [String] { list(path) }

  private func list(_ folder: String) -> [String] {
    guard let handle = opendir(folder) else { return [] }
    defer { closedir(handle) }
    var names: [String] = []
    while let entry = readdir(handle) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { raw in
        String(decoding: raw.prefix { $0 != 0 }, as: UTF8.self)
      }
      if name != "." && name != ".." { names.append(name) }
    }
    return names.sorted()
  }
}

/// The one-line message of the `CetError` that `body` throws; fails when it throws something else or nothing.
func errorOf<Result>(_ body: () throws -> Result) -> CetError {
  do {
    _ = try body()
    Issue.record("expected an error")
  } catch let error as CetError {
    #expect(!error.message.contains("\n"))
    return error
  } catch {
    Issue.record("expected a CetError, got \(error)")
  }
  return CetError(.internal, "no error")
}

func floats(_ count: Int, _ scale: Float = 1) -> [Float] { (0..<count).map { Float($0) * scale } }

func initializer<Element: TensorElement>(_ name: String, _ values: [Element], _ shape: [Int]) throws -> Initializer {
  Initializer(name: name, tensor: try Tensor(values, shape: shape))
}

/// One byte an element, as `Tensor` keeps sub-byte types.
func codes(_ name: String, _ type: ElementType, _ values: [UInt8], _ shape: [Int]) throws -> Initializer {
  let tensor = try Tensor(uninitialized: type, shape)
  for (index, value) in values.enumerated() {
    tensor.pointer.storeBytes(of: value, toByteOffset: index, as: UInt8.self)
  }
  return Initializer(name: name, tensor: tensor)
}

func value(_ name: String, _ shape: [ValueInfo.Dimension]? = [.symbolic("n"), .fixed(4)]) -> ValueInfo {
  ValueInfo(name: name, type: .float32, shape: shape)
}

/// The file of a model that is not checked first, so that broken ones can be made.
func unchecked(_ graph: Graph, opset: Int = 17, irVersion: Int64 = 8) throws -> [UInt8] {
  var encoder = MessageEncoder()
  return Array(try encoder.model(Model(irVersion: irVersion, opsets: ["": opset], graph: graph)))
}

func bytes(of tensor: Tensor) -> [UInt8] {
  Array(UnsafeRawBufferPointer(start: tensor.pointer, count: tensor.byteCount))
}
