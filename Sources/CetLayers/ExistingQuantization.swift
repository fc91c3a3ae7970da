import CetGraph
import CetTensor

/// What in a model is quantized before this library does anything: by itself or by others.
public struct ExistingQuantization: Sendable {
  /// Weights that this library encoded, in graph order. They are planned again from their values.
  public let own: [(name: String, bits: Int, count: Int)]
  /// Operators with constant codes, and the weights in them.
  public let others: [(operator: String, tensors: Int, count: Int)]
  /// Operators that quantize activations.
  public let activations: [String]
  /// Weights that can be planned and are float in the file.
  public let floatCount: Int

  public init(_ found: LinearLayers) {
    let recorded = found.record?.bits ?? [:]
    own = found.layers.compactMap { layer in recorded[layer.name].map { (layer.name, $0, layer.count) } }
    floatCount = found.layers.reduce(0) { recorded[$1.name] == nil ? $0 + $1.count : $0 }
    var others: [(operator: String, tensors: Int, count: Int)] = []
    var activations: Set<String> = []
    for (place, node) in found.index.nodes.enumerated() {
      let label = node.domain.isEmpty ? node.operatorType : "\(node.domain).\(node.operatorType)"
      if ["QuantizeLinear", "DynamicQuantizeLinear"].contains(node.operatorType), found.index.isFed(place) {
        activations.insert(label)
      }
      let counts = node.codeSlots.compactMap { slot in
        slot < node.inputs.count ? found.index.constants[node.inputs[slot]].map { node.weightCount($0) } : nil
      }
      guard !counts.isEmpty else { continue }
      if let known = others.firstIndex(where: { $0.operator == label }) {
        others[known].tensors += counts.count
        others[known].count += counts.reduce(0, +)
      } else {
        others.append((label, counts.count, counts.reduce(0, +)))
      }
    }
    let plain = found.folding.left.map(\.codes).filter { $0 > 0 }
    if !plain.isEmpty { others.append(("arithmetic with integers", plain.count, plain.reduce(0, +))) }
    self.others = others.sorted { $0.operator < $1.operator }
    self.activations = activations.sorted()
  }

  public var isEmpty: Bool { own.isEmpty && others.isEmpty && activations.isEmpty }

  /// One line for people; nil when nothing is quantized.
  public var summary: String? {
    guard !isEmpty else { return nil }
    var parts: [String] = []
    if !own.isEmpty {
      parts.append("\(own.count) weight tensors (\(own.reduce(0) { $0 + $1.count }) weights) by libcet, planned again from their values")
    }
    for entry in others { parts.append("\(entry.tensors) constant tensors (\(entry.count) values) by \(entry.operator), left as they are") }
    if !activations.isEmpty { parts.append("activations by \(activations.joined(separator: ", "))") }
    return "already quantized: " + parts.joined(separator: "; ") + "; \(floatCount) weights are float"
  }
}

extension Node {
  /// Inputs that hold weights as codes where they are constant.
  fileprivate var codeSlots: [Int] {
    switch operatorType {
    case "DequantizeLinear", "DequantizeBFP", "GatherBlockQuantized": [0]
    case "MatMulInteger", "ConvInteger", "MatMulNBits", "MatMulBnb4", "MatMulFpQ4", "DynamicQuantizeMatMul", "MatMulIntegerToFloat",
      "QAttention":
      [1]
    case "DynamicQuantizeLSTM": [1, 2]
    case "QLinearMatMul", "QLinearConv", "QGemm": [3]
    case "QEmbedLayerNormalization": [2, 3, 4]
    default: []
    }
  }

  /// Weights that a tensor of codes stands for.
  fileprivate func weightCount(_ codes: Tensor) -> Int {
    func int(_ name: String) -> Int? { if case .int(let value)? = attributes[name] { Int(exactly: value) } else { nil } }
    switch operatorType {
    case "MatMulNBits", "MatMulBnb4", "MatMulFpQ4":
      guard let rows = int("N"), let columns = int("K"), let count = [rows, columns].validatedCount else { return codes.count }
      return count
    case "GatherBlockQuantized":
      // Codes of fewer bits lie packed in bytes.
      guard codes.type == .uint8, let bits = int("bits"), (1...8).contains(bits) else { return codes.count }
      return codes.count * (8 / bits)
    default: return codes.count
    }
  }
}
