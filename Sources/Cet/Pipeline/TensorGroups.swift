import CetLayers
import CetTensor

/// Tensors that get the same bits.
enum TensorGroups {
  /// Stands for siblings in place of a pattern.
  static let siblings = "auto"

  /// The planned layers as units that get their bits together: most of them single ones. Groups that share a layer are one.
  static func units(
    _ patterns: [String], _ layers: [LinearLayer], _ names: [TensorNames], planned: [Int]
  ) throws(CetError) -> [[Int]] {
    var labels = Array(layers.indices)
    func join(_ members: [Int]) {
      let joined = Set(members.map { labels[$0] })
      guard let label = joined.min(), joined.count > 1 else { return }
      for index in labels.indices where joined.contains(labels[index]) { labels[index] = label }
    }
    let isPlanned = Set(planned)
    for pattern in patterns {
      let sets = pattern == siblings
        ? self.siblings(of: layers) : [try TensorPattern(pattern).indices(in: names, use: "group")]
      for members in sets { join(members.filter(isPlanned.contains)) }
    }
    return Dictionary(grouping: planned) { labels[$0] }.sorted { $0.key < $1.key }.map(\.value)
  }

  /// Matrices that multiply the same value by the same operator, as query, key and value do: runtimes fuse these into one product,
  /// which has one number of bits.
  private static func siblings(of layers: [LinearLayer]) -> [[Int]] {
    let operators: Set = ["MatMul", "Gemm", "FusedMatMul", "FusedGemm"]
    let matrices = layers.indices.filter { index in
      guard case .matrix = layers[index].kind else { return false }
      return layers[index].input != nil && operators.contains(layers[index].node.operatorType)
    }
    return Dictionary(grouping: matrices) { [layers[$0].input ?? "", layers[$0].node.operatorType, "\(layers[$0].axis)"] }
      .values.filter { $0.count > 1 }
  }

  /// The widths that all layers of a unit can have.
  static func common(_ unit: [Int], _ widths: [[Int]], _ layers: [LinearLayer]) throws(CetError) -> [Int] {
    var common = widths[unit[0]]
    for index in unit.dropFirst() {
      common = common.filter(widths[index].contains)
      guard common.isEmpty else { continue }
      throw CetError(.invalidArgument, "group: '\(layers[unit[0]].name)' and '\(layers[index].name)' have no allowed bits in common")
    }
    return common
  }
}
