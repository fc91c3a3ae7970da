import CetTensor

/// Mean and covariance of rows, by plain loops.
struct PlainMoments {
  let mean: [Double]
  let covariance: [Double]

  init(_ rows: [[Float]], centred: Bool = true) {
    self.init(rows, rows, centred: centred)
  }

  /// E[(a − E a)(b − E b)ᵀ], and the mean of a.
  init(_ a: [[Float]], _ b: [[Float]], centred: Bool = true) {
    func mean(_ rows: [[Float]]) -> [Double] {
      (rows.first ?? []).indices.map { j in rows.reduce(0) { $0 + Double($1[j]) } / Double(rows.count) }
    }
    let (x, y) = (mean(a), mean(b))
    self.mean = x
    covariance = x.indices.flatMap { i in
      y.indices.map { j in
        zip(a, b).reduce(0) {
          $0 + (Double($1.0[i]) - (centred ? x[i] : 0)) * (Double($1.1[j]) - (centred ? y[j] : 0))
        } / Double(a.count)
      }
    }
  }
}

/// The largest difference of two lists; infinite where their lengths differ.
func distance(_ x: [Double], _ y: [Double]) -> Double {
  x.count == y.count ? zip(x, y).map { abs($0 - $1) }.max() ?? 0 : .infinity
}

/// Rows of `width` values.
func rows(_ tensor: Tensor, _ width: Int) throws -> [[Float]] {
  let values = try tensor.rowMajor().array(as: Float.self)
  return stride(from: 0, to: values.count, by: width).map { Array(values[$0..<($0 + width)]) }
}

/// Windows of 2 on the last axis of [samples, channels, 1, length], in the order of a weight [_, channels, 1, 2].
func windows(_ x: Tensor, channels: Range<Int>) -> [[Float]] {
  let (all, length) = (x.shape[1], x.shape[3])
  return (0..<x.shape[0]).flatMap { sample in
    (0..<(length - 1)).map { place in
      channels.flatMap { channel in (0..<2).map { x.floats[(sample * all + channel) * length + place + $0] } }
    }
  }
}
