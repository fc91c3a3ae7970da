import CetAutodiff
import CetLayers
import CetTensor

/// A residual operand in one of two networks, as rows of output channels, one a patch.
struct ResidualRows {
  private let values: Tensor
  private let channels: Int
  private let slopes: [Float]

  /// nil when the run has not passed the residual, which all runs do at the same step, and when its shape is not that of the
  /// output (a residual that is broadcast over samples or positions).
  init?(
    _ residual: Residual, _ cursor: ForwardCursor, _ layer: LinearLayer, input: Tensor, _ context: ComputeContext
  ) throws(CetError) {
    guard let x = cursor.passed(residual.name), x.type == .float32,
      x.count == (try Patches.count(layer, layer.node, input: input)) * layer.channels
    else { return nil }
    let layout: Layout
    switch layer.kind {
    case .leftMatrix: return nil
    case .convolution, .transposedConvolution:
      guard x.rank >= 3, x.shape[1] == layer.channels else { return nil }
      layout = .channelsLast
    default:
      guard x.shape.last == layer.channels else { return nil }
      layout = .rowMajor
    }
    values = try x.converted(to: layout, arena: context.arena)
    channels = layer.channels
    slopes = residual.slopes
  }

  /// The rows of some patches, [patches × channels].
  func picked(_ numbers: [Int], arena: Arena?) throws(CetError) -> Tensor {
    let result = try Tensor(uninitialized: .float32, [numbers.count, channels], arena: arena)
    withExtendedLifetime(values) {
      for (row, number) in numbers.enumerated() {
        (result.floats + row * channels).update(from: values.floats + number * channels, count: channels)
      }
    }
    return result
  }

  /// Rows that another network picked less these, [patches × channels of the range]. In units of the layer's output: divided by the
  /// residual's slopes.
  func difference(_ other: Tensor, _ numbers: [Int], channels range: Range<Int>, arena: Arena?) throws(CetError) -> Tensor {
    let result = try Tensor(uninitialized: .float32, [numbers.count, range.count], arena: arena)
    withExtendedLifetime((values, other)) {
      for (row, number) in numbers.enumerated() {
        let (a, b) = (other.floats + row * channels + range.lowerBound, values.floats + number * channels + range.lowerBound)
        Elementwise.apply(.subtract, a, b, into: result.floats + row * range.count, count: range.count)
        if slopes.isEmpty { continue }
        for j in 0..<range.count { result.floats[row * range.count + j] /= slopes[range.lowerBound + j] }
      }
    }
    return result
  }
}
