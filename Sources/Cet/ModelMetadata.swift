import CetGraph

/// Where a model comes from, in its own words; "" where it says nothing.
public struct ModelMetadata: Sendable {
  public let irVersion: Int64
  /// The producer's number for this version of the model.
  public let version: Int64
  public let producer: String
  public let producerVersion: String
  public let domain: String
  public let documentation: String
  public let graphName: String
  /// Operator sets by domain, the default domain "" first.
  public let opsets: [(domain: String, version: Int)]
  /// metadata_props, in the file's order.
  public let entries: [(key: String, value: String)]

  init(_ model: Model) {
    irVersion = model.irVersion
    version = model.version
    producer = model.producer
    producerVersion = model.producerVersion
    domain = model.domain
    documentation = model.documentation
    graphName = model.graph.name
    opsets = model.opsets.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    entries = model.metadata
  }
}
