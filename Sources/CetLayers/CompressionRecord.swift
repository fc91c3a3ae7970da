import CetFormats

/// What the metadata of a model say when this library wrote it.
public struct CompressionRecord: Sendable {
  /// Version of the library that wrote the file.
  public let version: String
  public let sourceSHA256: String
  /// Of every weight that was encoded, by name.
  public let bits: [String: Int]

  /// nil when another program wrote the model, or what it says is not readable.
  public init?(_ metadata: [(key: String, value: String)]) {
    let entries = Dictionary(metadata.map { ($0.key, $0.value) }, uniquingKeysWith: { $1 })
    guard let version = entries["ai.libcet.version"], let text = entries["ai.libcet.plan"],
      let members = try? JSONFields(JSON.parse(text), document: "ai.libcet.plan").members()
    else { return nil }
    var bits: [String: Int] = [:]
    for (name, field) in members { bits[name] = try? field.integer(1...8) }
    self.version = version
    self.bits = bits
    sourceSHA256 = entries["ai.libcet.source_sha256"] ?? ""
  }
}
