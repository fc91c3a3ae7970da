import CetEncode
import CetFormats
import CetGraph
import CetLayers
import CetOperators
import CetTensor

extension LoadedModel {
  /// Products whose operands are constant: what they multiply are no weights of layers.
  private var constantProducts: [String] {
    let producers = found.folding.left.reduce(into: Set<String>()) { $0.formUnion($1.producers) }
    return found.index.nodes.enumerated().compactMap { place, node in
      let isConstant = !found.index.isFed(place) && !node.weightSlots.isEmpty && !node.operatorType.hasPrefix("Gather")
      return isConstant && !producers.contains(node.firstOutput) ? node.firstOutput : nil
    }
  }

  /// What the model consists of: operators (those of functions, branches and bodies as well) and whether they have
  /// exact derivatives, inputs, outputs, parameters, whether it can be compressed, what is quantized in it already, and the
  /// smallest file that the fewest bits everywhere would give. One JSON document.
  public func inspectJSON() throws(CetError) -> String {
    try findDigest()
    let model = file.model
    let judgement = try judgement()
    var counts: [(key: String, node: Node, count: Int)] = []
    var places: [String: Int] = [:]
    for node in found.inlining.model.graph.nodes.flattened {
      let key = node.qualifiedType
      if let index = places[key] {
        counts[index].count += 1
      } else {
        places[key] = counts.count
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
    let computed = Set(found.folding.weights.map(\.name))
    let left: [JSON] = (found.folding.left.map { ($0.name, $0.reason) } + constantProducts.map { ($0, "a product of constants") }).map {
      .object([.init("name", .string($0.0)), .init("reason", .string($0.1))])
    }
    let list: [JSON] = parameters.enumerated().map { index, info in
      .object([
        .init("name", .string(info.name)), .init("shape", .array(info.shape.map { .integer($0) })),
        .init("offset", .integer(info.offset)), .init("count", .integer(info.count)),
        .init("node", .string(found.layers[index].node.displayName)),
        .init("operator", .string(found.layers[index].node.operatorType)),
        .init("computed", .bool(computed.contains(info.name))), .init("kept", .text(found.obstacle(index))),
      ])
    }
    let weights = parameters.reduce(0) { $0 + $1.count }
    let oldest = Runtime.oldest(for: model)
    let obstacle = Runtime.openVINOObstacle(to: model)
    let document = JSON.object([
      .init("ir_version", .integer(model.irVersion)),
      .init("opsets", .object(model.opsets.sorted { $0.key < $1.key }.map { .init($0.key, .integer($0.value)) })),
      .init("producer", .string(model.producer)), .init("sha256", .string(sha256)),
      .init("file_bytes", .integer(byteCount)), .init("smallest_file_bytes", .integer(try? smallestFileBytes())),
      .init("nodes", .integer(model.graph.nodes.count)), .init("quantizable_weights", .integer(weights)),
      .init("supported", .bool((try? checkOperators()) != nil)),
      .init("compress", .object([.init("status", .string(judgement.status)), .init("reason", .text(judgement.reason))])),
      .init("inputs", values(model.graph.requiredInputs)), .init("outputs", values(model.graph.outputs)),
      .init("operators", .array(operators)), .init("parameters", .array(list)),
      .init("unplanned", .array(left)), .init("quantized", existing.json),
      .init("oldest_runtime", .text(oldest.runtime?.description)), .init("oldest_runtime_reason", .text(oldest.reason)),
      .init("oldest_openvino", .text(obstacle == nil ? Runtime.triedOpenVINO.description : nil)), .init("oldest_openvino_reason", .text(obstacle)),
    ])
    return document.serialized()
  }
}

extension ExistingQuantization {
  var json: JSON {
    if isEmpty { return .null }
    return .object([
      .init("summary", .text(summary)),
      .init(
        "own",
        .array(
          own.map { .object([.init("name", .string($0.name)), .init("bits", .integer($0.bits)), .init("count", .integer($0.count))]) })),
      .init(
        "others",
        .array(
          others.map {
            .object([.init("operator", .string($0.operator)), .init("tensors", .integer($0.tensors)), .init("count", .integer($0.count))])
          })),
      .init("activations", .array(activations.map { .string($0) })),
      .init("float_weights", .integer(floatCount)),
    ])
  }
}
