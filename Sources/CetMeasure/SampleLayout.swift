import CetTensor

/// Where a batch's value has the entries of one sample: on an axis, in runs of `run` neighbours a sample. A value
/// [samples, …] has runs of one, [samples · positions, …] runs of all positions of a sample, [positions · samples, …]
/// runs of one again.
struct SampleLayout {
  let axis: Int
  let run: Int

  /// All that fit a value of this shape.
  /// - Parameter alone: the shape of the same value for one sample; nil: unknown.
  static func all(_ shape: [Int], samples: Int, alone: [Int]?) -> [SampleLayout] {
    shape.indices.flatMap { axis -> [SampleLayout] in
      guard shape[axis] > 0, shape[axis] % samples == 0 else { return [] }
      let entries = shape[axis] / samples
      if let alone {
        var one = shape
        one[axis] = entries
        guard one == alone else { return [] }
      }
      return (1...entries).filter { entries % $0 == 0 }.map { SampleLayout(axis: axis, run: $0) }
    }
  }

  /// What sample `sample` of `samples` has in a row-major float32 value, in the order of the value of a sample alone.
  func entries(of value: Tensor, sample: Int, of samples: Int) -> [Float] {
    let size = value.shape[axis]
    let inner = value.shape[(axis + 1)...].reduce(1, *)
    var result: [Float] = []
    result.reserveCapacity(value.count / samples)
    withExtendedLifetime(value) {
      for outer in 0..<value.shape[..<axis].reduce(1, *) {
        for block in stride(from: sample * run, to: size, by: samples * run) {
          result += UnsafeBufferPointer(start: value.floats + (outer * size + block) * inner, count: run * inner)
        }
      }
    }
    return result
  }
}

extension Array where Element == Float {
  /// ‖self − other‖ / ‖other‖; infinite where one is not finite or the other is zero and this is not.
  func relativeDistance(to other: [Float]) -> Double {
    guard count == other.count else { return .infinity }
    var (difference, norm) = (0.0, 0.0)
    for (x, y) in zip(self, other) {
      difference += (Double(x) - Double(y)) * (Double(x) - Double(y))
      norm += Double(y) * Double(y)
    }
    if difference == 0 { return 0 }
    let ratio = (difference / norm).squareRoot()
    return ratio.isNaN ? .infinity : ratio
  }
}
