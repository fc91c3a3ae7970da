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
    case ("", "Einsum"): inputs.count == 2 ? [1, 0] : []
    case ("", "Gather"), ("", "GatherND"), ("", "GatherElements"): [0]
    case ("", "LSTM"), ("", "GRU"), ("", "RNN"): [1, 2]
    default: []
    }
  }

  /// The input that the weight at `slot` multiplies; nil for a table, which is read by index.
  func activationSlot(of slot: Int) -> Int? { operatorType.hasPrefix("Gather") ? nil : slot == 0 ? 1 : 0 }

  /// The axis of Einsum's operand that its output has and the other operand has not; of several the last, 0 without one.
  func einsumAxis(_ slot: Int) -> Int {
    guard case .string(let bytes)? = attributes["equation"] else { return 0 }
    let equation = bytes.filter { $0 != UInt8(ascii: " ") }
    let sides = equation.split(separator: UInt8(ascii: "-"), maxSplits: 1)
    let operands = (sides.first ?? []).split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false)
    guard operands.count == 2, operands.indices.contains(slot), !operands[slot].contains(UInt8(ascii: ".")) else { return 0 }
    let (own, other) = (Array(operands[slot]), operands[1 - slot])
    // Without an arrow the output has the labels that stand once.
    let output = sides.count == 2 ? Array(sides[1].dropFirst()) : own.filter { label in own.count { $0 == label } == 1 && !other.contains(label) }
    return own.lastIndex { output.contains($0) && !other.contains($0) } ?? 0
  }

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
