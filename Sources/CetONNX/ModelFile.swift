import CetGraph
import CetTensor

/// An ONNX file in memory and the model that it describes. The tensors of `model` point into the file's bytes
/// where they are aligned, and are copied on first use where not.
public final class ModelFile: @unchecked Sendable {
  public let model: Model
  /// Where the file was read from; nil for one given as bytes.
  public let path: String?
  let source: FileBytes
  /// In ascending order of their place in the file.
  let externalTensors: [ExternalTensor]

  /// Maps the file read-only. External data is looked for in the file's folder, and nowhere else.
  public convenience init(path: String) throws(CetError) {
    let source = try FileBytes(mapping: path, what: "model")
    do {
      try self.init(source: source, path: path)
    } catch {
      throw error.prefixed("model '\(path)': ")
    }
  }

  /// Reads a model from a copy of `bytes`.
  public convenience init(bytes: [UInt8]) throws(CetError) {
    try self.init(source: bytes.span.withUnsafeBytes(FileBytes.init(copying:)), path: nil)
  }

  /// Reads a model from a copy of `bytes`.
  public convenience init(copying bytes: UnsafeRawBufferPointer) throws(CetError) {
    try self.init(source: FileBytes(copying: bytes), path: nil)
  }

  private init(source: FileBytes, path: String?) throws(CetError) {
    guard source.byteCount > 0 else { throw CetError(.invalidModel, "", expected: "an ONNX model", got: "0 bytes") }
    var reader = ModelReader(source: source, folder: try path.map(ExternalDataFolder.init(modelPath:)))
    do {
      model = try reader.model()
    } catch where error.message.hasPrefix("byte ") {
      throw error.prefixed("not a readable ONNX file: ")
    }
    externalTensors = reader.externalTensors.sorted { $0.message.lowerBound < $1.message.lowerBound }
    self.source = source
    self.path = path
  }

  /// Size of the model file, without external data.
  public var byteCount: Int { source.byteCount }

  /// Bytes of tensor data that the file keeps in other files.
  public var externalByteCount: Int { externalTensors.reduce(0) { $0 + $1.data.count } }

  /// Whether the model or some of its external data was read from the file at `path`.
  public func reads(path: String) -> Bool {
    guard let identity = FileIdentity(path: path) else { return false }
    return source.identity == identity || externalTensors.contains { $0.file.identity == identity }
  }

  /// The file's bytes as they were read.
  public func withBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
    withExtendedLifetime(self) { body(source.bytes) }
  }
}
