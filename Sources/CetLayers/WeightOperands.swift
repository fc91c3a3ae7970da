import CetGraph
import CetTensor

extension ElementType {
  /// Whether weights of this type are quantized.
  public var isWeight: Bool { self == .float32 || self == .float16 || self == .bfloat16 }
}

/// What the library knows of operators that multiply activations with weights, and of those that only move elements.
extension Node {
  /// Inputs that can be a weight, the usual one first.
  public var weightSlots: [Int] {
    switch (domain, operatorType) {
    case ("", "Conv"), ("", "ConvTranspose"), ("", "Gemm"), ("com.microsoft", "FusedMatMul"), ("com.microsoft", "Attention"),
      ("com.microsoft", "FusedConv"), ("com.microsoft", "FusedGemm"):
      [1]
    case ("", "MatMul"): [1, 0]
    case ("", "Gather"): [0]
    case ("", "LSTM"), ("", "GRU"), ("", "RNN"): [1, 2]
    default: []
    }
  }

  /// The input that the weight at `slot` multiplies; nil for a table, which is read by index.
  func activationSlot(of slot: Int) -> Int? { operatorType == "Gather" ? nil : slot == 0 ? 1 : 0 }

  /// Inputs whose elements the outputs have, in another order or type; nil for an operator that computes.
  var movedInputs: [String]? {
    guard domain.isEmpty, let first = inputs.first else { return nil }
    switch operatorType {
    case "Identity", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Split": return [first]
    case "Cast":
      guard case .int(let value)? = attributes["to"], let type = ElementType(rawValue: Int32(truncatingIfNeeded: value)) else { return nil }
      return type.isWeight ? [first] : nil
    case "Concat": return inputs
    default: return nil
    }
  }
}

extension GraphIndex {
  /// Whether the weight at `slot` of a node is multiplied with something that is not constant. Rows of a table may be
  /// picked by constant indices.
  func isWeighted(_ node: Node, _ slot: Int) -> Bool {
    guard slot < node.inputs.count else { return false }
    guard let other = node.activationSlot(of: slot) else { return true }
    return other < node.inputs.count && isFed(node.inputs[other])
  }
}
