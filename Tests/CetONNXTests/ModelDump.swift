import CetGraph
import CetTensor

/// The text that tools/dump_model.py prints, from our reader's model.
struct ModelDump {
  private var lines: [String] = []

  static func text(_ model: Model) -> String {
    var dump = ModelDump()
    dump.add(model)
    return dump.lines.joined(separator: "\n") + "\n"
  }

  private mutating func add(_ model: Model) {
    lines += ["ir \(model.irVersion)", "producer '\(model.producer)'"]
    lines += model.opsets.sorted { $0.key < $1.key }.map { "opset '\($0.key)' \($0.value)" }
    add(model.graph, "")
    for function in model.functions {
      lines.append("function '\(function.name)' '\(function.domain)' '\(function.overload)'")
      lines.append("  \(quoted(function.inputs)) -> \(quoted(function.outputs))")
      lines.append("  attributes \(quoted(function.attributeNames))")
      lines += function.opsets.sorted { $0.key < $1.key }.map { "  opset '\($0.key)' \($0.value)" }
      add(function.attributeDefaults, "  ")
      for node in function.nodes { add(node, "  ") }
    }
    lines += model.metadata.map { "metadata '\($0.key)' '\($0.value)'" }
  }

  private mutating func add(_ graph: Graph, _ indent: String) {
    lines.append("\(indent)graph '\(graph.name)'")
    lines += graph.inputs.map { "\(indent)input \(text($0))" }
    lines += graph.outputs.map { "\(indent)output \(text($0))" }
    lines += graph.initializers.map { "\(indent)initializer \(text($0))" }
    lines += graph.opaqueInitializers.map { "\(indent)opaque '\($0)'" }
    for node in graph.nodes { add(node, indent) }
  }

  private mutating func add(_ node: Node, _ indent: String) {
    lines.append(
      "\(indent)node \(node.operatorType) '\(node.domain)' '\(node.overload)' '\(node.name)' "
        + "\(quoted(node.inputs)) -> \(quoted(node.outputs))")
    add(node.attributes, indent + "  ")
  }

  private mutating func add(_ attributes: [String: Attribute], _ indent: String) {
    for (name, value) in attributes.sorted(by: { $0.key < $1.key }) {
      let head = "\(indent)attribute '\(name)'"
      switch value {
      case .int(let value): lines.append("\(head) int \(value)")
      case .float(let value): lines.append("\(head) float \(hex(value))")
      case .string(let bytes): lines.append("\(head) string \(hex(bytes))")
      case .ints(let values): lines.append("\(head) ints \(values)")
      case .floats(let values): lines.append("\(head) floats \(values.map(hex).joined(separator: " "))")
      case .strings(let values): lines.append("\(head) strings \(values.map(hex).joined(separator: " "))")
      case .tensor(let tensor): lines.append("\(head) tensor \(text(tensor))")
      case .tensors(let tensors):
        lines.append("\(head) tensors")
        lines += tensors.map { "\(indent)  \(text($0))" }
      case .graph(let graph):
        lines.append("\(head) graph")
        add(graph, indent + "  ")
      case .graphs(let graphs):
        lines.append("\(head) graphs")
        for graph in graphs { add(graph, indent + "  ") }
      case .reference(let name): lines.append("\(head) reference '\(name)'")
      case .opaque: lines.append("\(head) opaque")
      }
    }
  }

  private func text(_ info: ValueInfo) -> String {
    guard let type = info.type else { return "'\(info.name)' none" }
    let sizes = info.shape.map { shape in
      let texts = shape.map { dimension in
        switch dimension {
        case .fixed(let size): String(size)
        case .symbolic(let name): name
        case .unknown: "?"
        }
      }
      return "[" + texts.joined(separator: ", ") + "]"
    }
    return "'\(info.name)' \(type) \(sizes ?? "none")"
  }

  private func text(_ initializer: Initializer) -> String {
    let data = bytes(of: initializer.tensor)
    let crc = String(crc32(data), radix: 16)
    let padded = String(repeating: "0", count: 8 - crc.count) + crc
    return "'\(initializer.name)' \(initializer.tensor.type) \(initializer.tensor.shape) \(data.count) \(padded)"
  }

  private func quoted(_ names: [String]) -> String { names.map { "'\($0)'" }.joined(separator: " ") }

  private func hex(_ value: Float) -> String {
    hex((0..<4).reversed().map { UInt8(truncatingIfNeeded: value.bitPattern >> (8 * $0)) })
  }

  private func hex(_ bytes: [UInt8]) -> String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
  }
}

/// CRC-32 as zlib computes it.
private func crc32(_ bytes: [UInt8]) -> UInt32 {
  let table = (0..<256).map { index in
    var value = UInt32(index)
    for _ in 0..<8 { value = value & 1 == 1 ? 0xEDB8_8320 ^ (value >> 1) : value >> 1 }
    return value
  }
  var crc = ~UInt32(0)
  for byte in bytes { crc = table[Int(UInt8(truncatingIfNeeded: crc) ^ byte)] ^ (crc >> 8) }
  return ~crc
}
