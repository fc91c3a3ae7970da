import CetAutodiff
import CetGraph
import CetONNX
import CetOperators
import CetTensor

/// A stretch of the parameter vector.
public struct ParameterInfo: Sendable, Equatable {
  public var name: String
  public var shape: [Int]
  public var offset: Int
  public var count: Int

  public init(name: String, shape: [Int], offset: Int, count: Int) {
    self.name = name
    self.shape = shape
    self.offset = offset
    self.count = count
  }
}

/// A model as it was given, and what in it can be quantized.
public final class LoadedModel: @unchecked Sendable {
  let file: ModelFile
  let found: LinearLayers
  private let lock = Lock()
  private var digest: String?

  /// Maps the file; external data is looked for in the file's folder only.
  public convenience init(path: String) throws { try self.init(ModelFile(path: path)) }

  /// Copies the bytes.
  public convenience init(bytes: UnsafeRawBufferPointer) throws { try self.init(ModelFile(copying: bytes)) }

  init(_ file: ModelFile) throws {
    self.file = file
    found = try LinearLayers(file.model)
  }

  public var requiredInputs: [ValueInfo] { file.model.graph.requiredInputs }

  /// Whether the model or some of its external data was read from the file at `path`.
  public func reads(path: String) -> Bool { file.reads(path: path) }

  var outputNames: [String] { file.model.graph.outputs.map(\.name) }

  /// All quantizable weights in the order of the parameter vector.
  public var parameters: [ParameterInfo] {
    var offset = 0
    return found.layers.map { layer in
      defer { offset += layer.count }
      return ParameterInfo(name: layer.name, shape: layer.shape, offset: offset, count: layer.count)
    }
  }

  /// The model file with external data.
  var byteCount: Int { file.byteCount + file.externalByteCount }

  /// SHA-256 of the model file, 64 hexadecimal digits.
  var sha256: String {
    lock.withLock {
      if let digest { return digest }
      let made = file.withBytes { SHA256.hexDigest(of: $0) }
      digest = made
      return made
    }
  }

  /// Throws when a node cannot be executed, before any work starts. Branches of If are left aside: the data may never
  /// take them.
  func checkOperators() throws { try check(found.inlining.model.graph.nodes) }

  private func check(_ nodes: [Node]) throws {
    for node in nodes {
      if let obstacle = OperatorRegistry.obstacle(to: node, in: file.model) {
        throw CetError(.unsupportedOperator, "node '\(node.displayName)': \(obstacle)")
      }
      if node.operatorType != "If" { for body in node.subgraphs { try check(body.nodes) } }
    }
  }

  private var canRun: Bool { (try? checkOperators()) != nil }
}

extension LoadedModel {
  private static func allNodes(_ graph: Graph) -> [Node] {
    graph.nodes.flatMap { [$0] + $0.subgraphs.flatMap(allNodes) }
  }

  /// What the model consists of: operators (those of functions, branches and bodies as well) and whether they have
  /// exact derivatives, inputs, outputs, parameters, and the smallest file that 2 bits everywhere would give. One JSON
  /// document.
  public func inspectJSON() throws -> String {
    let model = file.model
    var counts: [(key: String, node: Node, count: Int)] = []
    for node in LoadedModel.allNodes(found.inlining.model.graph) {
      let domain = node.domain == "ai.onnx" ? "" : node.domain
      let key = domain.isEmpty ? node.operatorType : "\(domain).\(node.operatorType)"
      if let index = counts.firstIndex(where: { $0.key == key }) {
        counts[index].count += 1
      } else {
        counts.append((key, node, 1))
      }
    }
    let operators: [JSON] = counts.sorted { $0.key < $1.key }.map { entry in
      let obstacle = OperatorRegistry.obstacle(to: entry.node, in: model)
      let rule = OperatorRegistry.entry(domain: entry.node.domain, type: entry.node.operatorType)?.derivatives.rawValue
      return .object([
        .init("operator", .string(entry.key)), .init("count", .integer(entry.count)),
        .init("supported", .bool(obstacle == nil)), .init("derivatives", .text(obstacle == nil ? rule : nil)),
        .init("obstacle", .text(obstacle.map { "node '\(entry.node.displayName)': \($0)" })),
      ])
    }
    func values(_ infos: [ValueInfo]) -> JSON {
      .array(
        infos.map { info in
          let shape: JSON =
            info.shape.map { dimensions in
              .array(
                dimensions.map { dimension in
                  switch dimension {
                  case .fixed(let size): .integer(size)
                  case .symbolic(let name): .string(name)
                  case .unknown: .null
                  }
                })
            } ?? .null
          return .object([
            .init("name", .string(info.name)), .init("type", .text(info.type?.description)), .init("shape", shape),
          ])
        })
    }
    let list: [JSON] = parameters.map { info in
      .object([
        .init("name", .string(info.name)), .init("shape", .array(info.shape.map { .integer($0) })),
        .init("offset", .integer(info.offset)), .init("count", .integer(info.count)),
      ])
    }
    let smallest = try FileSizes(self, encoding: .planes).bytes(
      bits: found.layers.map { _ in 2 }, granularity: .perAxis, addsBiases: true)
    let weights = parameters.reduce(0) { $0 + $1.count }
    let document = JSON.object([
      .init("ir_version", .integer(model.irVersion)),
      .init("opsets", .object(model.opsets.sorted { $0.key < $1.key }.map { .init($0.key, .integer($0.value)) })),
      .init("producer", .string(model.producer)), .init("sha256", .string(sha256)),
      .init("file_bytes", .integer(byteCount)), .init("smallest_file_bytes", .integer(smallest)),
      .init("nodes", .integer(model.graph.nodes.count)), .init("quantizable_weights", .integer(weights)),
      .init("supported", .bool(canRun)),
      .init("inputs", values(model.graph.requiredInputs)), .init("outputs", values(model.graph.outputs)),
      .init("operators", .array(operators)), .init("parameters", .array(list)),
    ])
    return document.serialized()
  }
}
