import CetFormats
import CetGraph
import CetTensor

/// An ONNX file in memory and the model that it describes. The tensors of `model` point into the file's bytes
/// where they are aligned, and are copied on first use where not.
public final class ModelFile: @unchecked Sendable {
  public let model: Model
  let source: HeldBytes
  /// In ascending order of their place in the file.
  let externalTensors: [ExternalTensor]
  /// The files that were read.
  private let marks: [FileMark]

  /// Reads the file into memory. External data is looked for in the file's folder, and nowhere else.
  public convenience init(path: String) throws(CetError) {
    let file = try FileSource(path: path, what: "model")
    let bytes = try HeldBytes(0..<file.byteCount, of: file)
    do {
      // The folder is looked for when it is needed: a model without a name, as memfd_create makes, has none.
      let external = ExternalData { location throws(CetError) in try ExternalDataFolder(modelPath: path).open(location) }
      try self.init(bytes, file.mark, external)
    } catch {
      throw error.prefixed("model '\(path)': ")
    }
  }

  /// Reads a model from a copy of `bytes`.
  public convenience init(bytes: [UInt8]) throws(CetError) { try self.init(bytes.span.withUnsafeBytes(HeldBytes.init(copying:))) }

  /// Reads a model from a copy of `bytes`.
  public convenience init(copying bytes: UnsafeRawBufferPointer) throws(CetError) { try self.init(HeldBytes(copying: bytes)) }

  /// Reads a model from a source, and its external data from what `external` gives for their locations; nil: it has none.
  public convenience init(
    _ source: ModelSource, external: ((String) throws(CetError) -> ModelSource)?
  ) throws(CetError) {
    try self.init(HeldBytes(0..<source.byteCount, of: source), source.mark, external.map(ExternalData.init(open:)))
  }

  private init(_ source: HeldBytes, _ mark: FileMark? = nil, _ external: ExternalData? = nil) throws(CetError) {
    guard source.byteCount > 0 else { throw CetError(.invalidModel, "", expected: "an ONNX model", got: "0 bytes") }
    var reader = ModelReader(source: source, external: external)
    do {
      model = try reader.model()
    } catch where error.message.hasPrefix("byte ") {
      throw error.prefixed("not a readable ONNX file: ")
    }
    try external?.check()
    externalTensors = reader.externalTensors.sorted { $0.message.lowerBound < $1.message.lowerBound }
    self.source = source
    marks = [mark].compactMap { $0 } + (external?.marks ?? [])
  }

  /// Size of the model file, without external data.
  public var byteCount: Int { source.byteCount }

  /// Bytes of tensor data that the file keeps in other files.
  public var externalByteCount: Int { externalTensors.reduce(0) { $0 + $1.data.byteCount } }

  /// Whether the model or some of its external data was read from the file at `path`.
  public func reads(path: String) -> Bool {
    guard let identity = FileIdentity(path: path) else { return false }
    return marks.contains { $0.identity == identity }
  }

  /// The file's bytes as they were read.
  public func withBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
    withExtendedLifetime(self) { body(source.bytes) }
  }
}

extension HeldBytes {
  fileprivate convenience init(copying bytes: UnsafeRawBufferPointer) throws(CetError) {
    try self.init(0..<bytes.count, of: MemorySource(bytes))
  }
}
