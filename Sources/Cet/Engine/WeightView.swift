import CetLayers
import CetQuantize
import CetTensor

/// A weight tensor as the matrix that its inputs see, one row an output channel and one column an entry of the
/// input patch, and the way back to the C order of the tensor.
struct WeightView: Sendable {
  let matrix: WeightMatrix
  private let layer: LinearLayer

  init(_ layer: LinearLayer, _ values: [Float]) throws {
    self.layer = layer
    matrix = try WeightMatrix(
      WeightView.rowsFirst(layer, values), rows: layer.channels, columns: WeightView.columns(layer))
  }

  /// Groups of rows that see different inputs.
  static func groups(_ layer: LinearLayer) -> Int {
    switch layer.kind {
    case .convolution(let groups): max(1, groups)
    case .blocks(let names): max(1, names.count)
    default: 1
    }
  }

  /// Whether every group reads one channel.
  static func isDepthwise(_ layer: LinearLayer) -> Bool {
    guard case .convolution(let groups) = layer.kind, layer.shape.count > 2 else { return false }
    return groups > 1 && layer.shape[1] == 1
  }

  static func columns(_ layer: LinearLayer) -> Int { layer.count / max(layer.channels, 1) }

  /// The quantized matrix in the C order of the tensor.
  func assembled(_ quantized: QuantizedMatrix) throws -> QuantizedTensor {
    var blockSize = 0
    if case .blocked(let size) = quantized.granularity { blockSize = size }
    return try QuantizedTensor(
      name: layer.name, shape: layer.shape, bits: quantized.bits,
      axis: quantized.granularity == .perTensor ? nil : layer.axis, blockSize: blockSize,
      unpacked: WeightView.tensorOrder(layer, quantized.codes), scales: quantized.scales,
      zeroPoints: quantized.zeroPoints, zeroUnit: quantized.grid.zeroUnit)
  }

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
