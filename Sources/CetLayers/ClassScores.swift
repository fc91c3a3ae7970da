import CetGraph

/// The value whose softmax a model's output is, or would be: a vector of scores per sample.
public struct ClassScores: Equatable {
  public let value: String
  /// Whether positions of size 1 may stand behind the classes: (samples, classes, 1, 1), as pooling leaves them.
  public let hasPositions: Bool

  /// nil when the output does not look like class scores: a vector per sample made by a linear layer, a pooling, or a
  /// softmax of those.
  public init?(behind output: String, _ graph: Graph) {
    let index = GraphIndex(graph)
    func producer(_ value: String) -> Node? { index.producer(of: value).map { index.nodes[$0] } }
    // What the file says of the positions behind the classes: none or one, or nothing.
    var isVector = false
    var hasOpenPositions = false
    // Positions of size 1 that a reshape puts behind a vector.
    var isColumn = false
    if let shape = graph.outputs.first(where: { $0.name == output })?.shape {
      let positions = shape.dropFirst(2)
      isVector = positions.allSatisfy { $0 == .fixed(1) }
      hasOpenPositions = !isVector
      isColumn = isVector && !positions.isEmpty
      let isMap = positions.contains { if case .fixed(let size) = $0 { size != 1 } else { false } }
      guard shape.count >= 2, !isMap else { return nil }
      if case .fixed(let classes) = shape[1], classes < 2 { return nil }
    }
    var scores = output
    var value = output
    // A reshaped value is a vector; what pooling makes is one only after that.
    var isReshaped = false
    for _ in 0..<8 {
      guard let node = producer(value) else { return nil }
      switch node.operatorType {
      case "Softmax", "LogSoftmax":
        scores = node.inputs.first ?? value
        value = scores
        isReshaped = false
      case "Div":
        // A softmax in parts: exp(x) / Σ exp(x).
        guard let exponential = producer(node.input(0)), exponential.operatorType == "Exp",
          ClassScores.isSum(node.inputs.last ?? "", of: node.input(0), producer), let x = exponential.inputs.first,
          !hasOpenPositions
        else { return nil }
        self.init(value: x, hasPositions: isColumn)
        return
      case "Reshape", "Flatten", "Squeeze":
        value = node.inputs.first ?? ""
        isReshaped = true
      case "Identity", "Unsqueeze", "Cast", "Dropout": value = node.inputs.first ?? ""
      case "Add", "Gemm", "MatMul":
        let isLinear = node.operatorType != "Add" || node.inputs.contains { producer($0)?.operatorType == "MatMul" }
        guard isLinear, !hasOpenPositions else { return nil }
        self.init(value: scores, hasPositions: isColumn)
        return
      case "GlobalAveragePool":
        self.init(value: scores, hasPositions: !isReshaped)
        return
      case "Conv", "AveragePool", "ReduceMean":
        // What is neither reshaped nor a vector may well be a map of positions.
        guard isReshaped || isVector || node.operatorType == "ReduceMean", !hasOpenPositions else { return nil }
        self.init(value: scores, hasPositions: !isReshaped)
        return
      default: return nil
      }
    }
    return nil
  }

  public init(value: String, hasPositions: Bool) {
    self.value = value
    self.hasPositions = hasPositions
  }

  /// Whether a value is the sum of another, whatever its shape was made to be afterwards.
  private static func isSum(_ value: String, of other: String, _ producer: (String) -> Node?) -> Bool {
    var name = value
    for _ in 0..<6 {
      guard let node = producer(name) else { return false }
      switch node.operatorType {
      case "ReduceSum": return node.inputs.first == other
      case "Reshape", "Expand", "Unsqueeze", "Squeeze", "Identity": name = node.inputs.first ?? ""
      default: return false
      }
    }
    return false
  }
}
