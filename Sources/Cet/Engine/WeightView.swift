import CetQuantize
import CetTensor

/// A weight tensor as the matrices that its inputs see: one per convolution group, rows × K each, and the way
/// back to the C order of the tensor.
struct WeightView: Sendable {
  let matrices: [WeightMatrix]
  private let layer: LinearLayer

  init(_ layer: LinearLayer, _ values: [Float]) throws {
    self.layer = layer
    let ordered = WeightView.rowsFirst(layer, values)
    let groups = WeightView.groups(layer)
    let rows = layer.channels / groups
    let columns = layer.count / max(layer.channels, 1)
    guard rows * groups == layer.channels else {
      throw CetError(.shapeMismatch, "initializer '\(layer.name)' has \(layer.channels) outputs in \(groups) groups")
    }
    matrices = try (0..<groups).map { group in
      try WeightMatrix(Array(ordered[(group * rows * columns)..<((group + 1) * rows * columns)]), rows: rows, columns: columns)
    }
  }

  /// Groups that see different inputs.
  static func groups(_ layer: LinearLayer) -> Int {
    if case .convolution(let groups) = layer.kind { return max(1, groups) }
    return 1
  }

  /// Columns of every matrix.
  static func columns(_ layer: LinearLayer) -> Int { layer.count / max(layer.channels, 1) }

  /// The quantized matrices' codes in the C order of the tensor, and scales and zero points by output channel.
  func assembled(_ quantized: [QuantizedMatrix]) throws -> QuantizedTensor {
    let codes = WeightView.tensorOrder(layer, quantized.flatMap(\.codes))
    guard let first = quantized.first else { throw CetError(.internal, "no matrix for '\(layer.name)'") }
    let perTensor = first.granularity == .perTensor
    var blockSize = 0
    if case .blocked(let size) = first.granularity { blockSize = size }
    return try QuantizedTensor(
      name: layer.name, shape: layer.shape, bits: first.bits, axis: perTensor ? nil : layer.axis, blockSize: blockSize,
      unpacked: codes, scales: perTensor ? first.scales : quantized.flatMap(\.scales),
      zeroPoints: perTensor ? first.zeroPoints : quantized.flatMap(\.zeroPoints))
  }

  /// Rows × K in C order of the axes other than the quantization axis.
  private static func rowsFirst<Element>(_ layer: LinearLayer, _ values: [Element]) -> [Element] {
    guard layer.axis != 0 else { return values }
    let (outer, rows, inner) = extents(layer)
    return [Element](unsafeUninitializedCapacity: values.count) { target, count in
      for r in 0..<rows {
        for o in 0..<outer {
          for i in 0..<inner {
            target.initializeElement(at: (r * outer + o) * inner + i, to: values[(o * rows + r) * inner + i])
          }
        }
      }
      count = values.count
    }
  }

  private static func tensorOrder<Element>(_ layer: LinearLayer, _ values: [Element]) -> [Element] {
    guard layer.axis != 0 else { return values }
    let (outer, rows, inner) = extents(layer)
    return [Element](unsafeUninitializedCapacity: values.count) { target, count in
      for o in 0..<outer {
        for r in 0..<rows {
          for i in 0..<inner {
            target.initializeElement(at: (o * rows + r) * inner + i, to: values[(r * outer + o) * inner + i])
          }
        }
      }
      count = values.count
    }
  }

  private static func extents(_ layer: LinearLayer) -> (outer: Int, rows: Int, inner: Int) {
    (
      layer.shape[..<layer.axis].reduce(1, *), layer.shape[layer.axis], layer.shape[(layer.axis + 1)...].reduce(1, *)
    )
  }
}
