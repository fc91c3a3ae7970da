import CKernels
import CetTensor

/// An estimate of tr H and of the traces of its diagonal blocks.
public struct TraceEstimate: Sendable {
  public struct Value: Sendable, Hashable {
    public var trace: Double
    /// Standard error of the mean over the samples; infinite with one sample.
    public var standardError: Double
  }

  public var whole: Value
  /// One per range that was asked for, in that order.
  public var ranges: [Value]
  public var samples: Int
}

/// tr H = E[zᵀHz] over vectors z of independent signs (Hutchinson 1990; the variance is 2 Σ_{i≠j} H_ij², zero for
/// a diagonal H). The same products give the trace of the diagonal block of every coordinate range, for
/// example of one tensor. One application of the map per sample.
public func estimateTrace(
  _ map: some LinearMap, samples: Int, ranges: [Range<Int>] = [], seed: UInt64 = 0,
  progress: ((_ samples: Int) throws -> Void)? = nil
) throws -> TraceEstimate {
  let n = map.dimension
  guard n >= 1 else { throw CetError(.invalidArgument, "the linear map has dimension \(n)") }
  guard samples >= 1 else { throw CetError(.invalidArgument, "the trace needs at least 1 sample, got \(samples)") }
  for range in ranges where range.lowerBound < 0 || range.upperBound > n {
    throw CetError(.invalidArgument, "the range \(range) is outside a map of dimension \(n)")
  }
  let memory = try Storage(byteCount: 2 * n * MemoryLayout<Float>.stride)
  let z = memory.pointer.assumingMemoryBound(to: Float.self)
  let product = z + n
  var random = Random(seed: seed)
  var moments = [RunningMoments](repeating: RunningMoments(), count: ranges.count + 1)
  for sample in 1...samples {
    var bits: UInt64 = 0
    for i in 0..<n {
      if i % 64 == 0 { bits = random.next() }
      z[i] = bits & 1 == 0 ? 1 : -1
      bits >>= 1
    }
    try map.apply(z, product)
    let whole = ck_dot(z, product, n)
    guard whole.isFinite else {
      throw CetError(.numeric, "the linear map returned a value that is not finite (apply \(sample))")
    }
    moments[0].add(whole)
    for (index, range) in ranges.enumerated() {
      moments[index + 1].add(ck_dot(z + range.lowerBound, product + range.lowerBound, range.count))
    }
    try progress?(sample)
  }
  return TraceEstimate(whole: moments[0].value, ranges: moments.dropFirst().map(\.value), samples: samples)
}

/// Mean and variance in one pass (Welford 1962).
private struct RunningMoments {
  var count = 0.0
  var mean = 0.0
  var squares = 0.0

  mutating func add(_ x: Double) {
    count += 1
    let d = x - mean
    mean += d / count
    squares += d * (x - mean)
  }

  var value: TraceEstimate.Value {
    TraceEstimate.Value(
      trace: mean, standardError: count > 1 ? (squares / (count - 1) / count).squareRoot() : .infinity)
  }
}
