import CetGraph
import CetTensor

@testable import CetONNX

/// A tensor alone in a file (a serialized TensorProto, as in ONNX's test vectors).
enum TensorFile {
  static func read(path: String) throws -> Initializer {
    let file = try FileSource(path: path, what: "tensor")
    let source = try HeldBytes(0..<file.byteCount, of: file)
    var reader = ModelReader(source: source, external: nil)
    do {
      let read = try reader.tensor(WireReader(source.base, 0..<source.byteCount))
      guard let tensor = read.tensor else { throw CetError(.invalidModel, "the element type is not known") }
      return Initializer(name: read.name, tensor: tensor)
    } catch let error as CetError {
      throw CetError(error.code, "tensor '\(path)': \(error.message)")
    }
  }
}
