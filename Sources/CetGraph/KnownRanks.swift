import CetTensor

/// The number of axes of values in the main graph, where inputs, outputs and operators tell it. Names that functions use
/// as well are left out: there they stand for other values.
struct KnownRanks {
  private(set) var ranks: [String: Int] = [:]

  /// Operators whose first output has as many axes as their first input.
  private static let keeping: Set = [
    "Abs", "AveragePool", "BatchNormalization", "Cast", "Clip", "Concat", "Conv", "ConvTranspose", "Dropout", "Elu", "Exp",
    "GlobalAveragePool", "GlobalMaxPool", "Identity", "InstanceNormalization", "LRN", "LeakyRelu", "Log", "LogSoftmax", "MaxPool", "Neg",
    "Pad", "Relu", "Selu", "Sigmoid", "Slice", "Softmax", "Sqrt", "Tanh", "Transpose", "Upsample",
  ]
  /// Operators whose output has as many axes as the operand with the most.
  private static let broadcasting: Set = ["Add", "Div", "MatMul", "Mul", "PRelu", "Pow", "Sub"]

  init(_ model: Model, _ constants: [String: Tensor]) {
    for info in model.graph.inputs + model.graph.outputs { if let shape = info.shape { ranks[info.name] = shape.count } }
    for node in model.graph.nodes where node.domain.isEmpty {
      guard let output = node.outputs.first, ranks[output] == nil, let rank = rank(node, constants) else { continue }
      ranks[output] = rank
    }
    for function in model.functions {
      for name in function.inputs + function.nodes.flatMap(\.outputs) { ranks[name] = nil }
    }
  }

  private func rank(_ node: Node, _ constants: [String: Tensor]) -> Int? {
    let operands = node.inputs.map { ranks[$0] ?? constants[$0]?.rank }
    switch node.operatorType {
    case "Gemm", "Flatten": return 2
    case "Reshape": return node.inputs.count > 1 ? constants[node.inputs[1]]?.count : nil
    case let type where KnownRanks.keeping.contains(type): return operands.first ?? nil
    case let type where KnownRanks.broadcasting.contains(type):
      let known = operands.compactMap { $0 }
      // Vectors lose their axis in a product.
      guard known.count == operands.count, type != "MatMul" || known.allSatisfy({ $0 >= 2 }) else { return nil }
      return known.max()
    default: return nil
    }
  }
}
