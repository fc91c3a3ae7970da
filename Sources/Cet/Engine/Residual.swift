import CetGraph
import CetTensor

/// What a layer's output is added to before anything else happens to it.
struct Residual: Equatable {
  /// Graph value.
  let name: String
  /// What each channel of the output is multiplied by on the way to the sum (an unfolded BatchNormalization); empty: 1.
  let slopes: [Float]
}

extension Engine {
  func residual(of index: Int) -> Residual? {
    let layer = layers[index]
    guard Engine.usesStatistics(layer), biasNames[index] != nil else { return nil }
    var output = layer.output
    var slopes: [Float] = []
    // The bias of a matrix product may be an Add of its own, and a normalization may follow.
    for _ in 0..<3 {
      let readers = model.graph.nodes.filter { $0.inputs.contains(output) }
      guard readers.count == 1, let node = readers.first else { return nil }
      if node.operatorType == "BatchNormalization", node.domain.isEmpty, slopes.isEmpty, node.inputs.first == output,
        let made = batchNormalizationSlopes(node), made.count == layer.channels
      {
        slopes = made
        output = node.firstOutput
        continue
      }
      guard node.operatorType == "Add", node.inputs.count == 2 else { return nil }
      let other = node.input(node.input(0) == output ? 1 : 0)
      if other == output { return nil }
      if constant(other) != nil {
        output = node.output(0)
        continue
      }
      return Residual(name: other, slopes: slopes)
    }
    return nil
  }

  private func constant(_ name: String) -> Tensor? { model.graph.initializers.first { $0.name == name }?.tensor }

  /// scale / √(variance + epsilon) of each channel; nil unless all are constants and none is zero.
  private func batchNormalizationSlopes(_ node: Node) -> [Float]? {
    guard node.inputs.count == 5, let scale = constant(node.input(1)), let variance = constant(node.input(4)),
      scale.type == .float32, variance.type == .float32, scale.count == variance.count
    else { return nil }
    var epsilon: Float = 1e-5
    if case .float(let value)? = node.attributes["epsilon"] { epsilon = value }
    let slopes = withExtendedLifetime((scale, variance)) {
      (0..<scale.count).map { scale.floats[$0] / (variance.floats[$0] + epsilon).squareRoot() }
    }
    return slopes.allSatisfy { $0.isFinite && abs($0) > 1e-6 } ? slopes : nil
  }
}
