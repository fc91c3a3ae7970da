import CetGraph
import CetTensor

/// What a layer's output is added to before anything else happens to it.
public struct Residual: Equatable, Sendable {
  /// Graph value.
  public let name: String
  /// What each channel of the output is multiplied by on the way to the sum (an unfolded BatchNormalization); empty: 1.
  public let slopes: [Float]

  private init(name: String, slopes: [Float]) {
    self.name = name
    self.slopes = slopes
  }

  /// nil where the output goes another way, or to several nodes of the main graph.
  /// - Parameter index: of the model in which the layer has its bias.
  public init?(of layer: LinearLayer, in index: GraphIndex) {
    var output = layer.output
    var slopes: [Float] = []
    // The bias of a matrix product may be an Add of its own, and a normalization may follow.
    for _ in 0..<3 {
      let readers = Set(index.readers(of: output)).filter { index.holder(of: $0) == nil }
      guard readers.count == 1, let node = readers.first.map({ index.nodes[$0] }) else { return nil }
      if node.operatorType == "BatchNormalization", node.domain.isEmpty, slopes.isEmpty, node.inputs.first == output,
        let made = Residual.normalizationSlopes(node, index), made.count == layer.channels
      {
        slopes = made
        output = node.firstOutput
        continue
      }
      guard node.operatorType == "Add", node.inputs.count == 2 else { return nil }
      let other = node.input(node.input(0) == output ? 1 : 0)
      if other == output { return nil }
      guard index.initializer(other) != nil else {
        self.init(name: other, slopes: slopes)
        return
      }
      output = node.output(0)
    }
    return nil
  }

  /// scale / √(variance + epsilon) of each channel; nil unless all are constants and none is zero.
  private static func normalizationSlopes(_ node: Node, _ index: GraphIndex) -> [Float]? {
    guard node.inputs.count == 5, let scale = index.initializer(node.input(1)), let variance = index.initializer(node.input(4)),
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
