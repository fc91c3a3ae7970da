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
  progress: ((_ samples: Int) throws(CetError) -> Void)? = nil
) throws(CetError) -> TraceEstimate {
  let n = map.dimension
  for range in ranges where range.lowerBound < 0 || range.upperBound > n {
    throw CetError(.invalidArgument, "the range \(range) is outside a map of dimension \(n)")
  }
  var moments = [RunningMoments](repeating: RunningMoments(), count: ranges.count + 1)
  try probe(map, samples: samples, seed: seed, what: "trace", progress: progress) { z, product in
    moments[0].add(ck_dot_f32(z, product, n))
    for (index, range) in ranges.enumerated() {
      moments[index + 1].add(ck_dot_f32(z + range.lowerBound, product + range.lowerBound, range.count))
    }
  }
  return TraceEstimate(whole: moments[0].value, ranges: moments.dropFirst().map(\.value), samples: samples)
}

/// The trace with its stiff part taken out: tr H = tr QᵀHQ + E[zᵀHz] over z = (I − QQᵀ)g, for any orthonormal Q and
/// signs g, so that the variance is that of what Q leaves of H. As in Hutch++ (Meyer, Musco, Musco, Woodruff 2021) with
/// the Krylov space of a random vector for Q instead of the range of a sketch (Chen, Hallman 2022): its products are
/// already there, and it holds the ends of the spectrum. Half of the samples go into Q, all are applications.
public func estimateTraceDeflated(
  _ map: some LinearMap, _ options: ProbeOptions, workers: Workers = Workers(threads: 1),
  progress: ((_ applies: Int) throws(CetError) -> Void)? = nil
) throws(CetError) -> TraceEstimate.Value {
  let n = map.dimension
  guard n >= 1 else { throw CetError(.invalidArgument, "the linear map has dimension \(n)") }
  guard options.samples >= 4 else {
    throw CetError(.invalidArgument, "hutch++ needs at least 4 samples, got \(options.samples)")
  }
  let size = min(options.samples / 2, n)
  try options.checkMemory(n, vectors: size, work: 2 * n)
  var lanczos = try LanczosFactorization(
    dimension: n, capacity: size, type: options.basisType, folder: options.basisFolder, seed: options.seed,
    workers: workers)
  while lanczos.size < size {
    try lanczos.extend(map)
    try progress?(lanczos.applies)
  }
  // tr of H on the span: Σ of the Ritz values, also for a basis that is only nearly orthonormal.
  let stiff = try lanczos.ritzPairs().values.reduce(0, +)
  guard size < n else { return TraceEstimate.Value(trace: stiff, standardError: 0) }
  var random = Random(seed: options.seed ^ 0x9e37_79b9_7f4a_7c15)
  var moments = RunningMoments()
  for _ in size..<options.samples {
    random.fillWithSigns(lanczos.input, n)
    var products = try lanczos.basis.pass(lanczos.input, columns: 1, count: size)
    for _ in 0..<2 {
      products = try lanczos.basis.pass(lanczos.input, columns: 1, count: size, subtract: products.withBasis)
    }
    try lanczos.apply(map, count: 1)
    moments.add(try lanczos.basis.dot(lanczos.input, lanczos.output))
    try progress?(lanczos.applies)
  }
  return TraceEstimate.Value(trace: stiff + moments.mean, standardError: moments.standardError)
}

/// diag H = E[z ∘ Hz] over vectors z of independent signs (Bekas, Kokiopoulou, Saad 2007; the variance of element i is
/// Σ_{j≠i} H_ij²), with the standard error of every element; infinite with one sample. One application per sample.
public func estimateDiagonal(
  _ map: some LinearMap, samples: Int, seed: UInt64 = 0, diagonal: UnsafeMutablePointer<Float>,
  standardErrors: UnsafeMutablePointer<Float>?, progress: ((_ samples: Int) throws(CetError) -> Void)? = nil
) throws(CetError) {
  let n = map.dimension
  let memory = try Storage(byteCount: (standardErrors == nil ? 1 : 2) * max(n, 0) * 8)
  let mean = memory.pointer.assumingMemoryBound(to: Double.self)
  mean.update(repeating: 0, count: max(n, 0))
  let squares = standardErrors == nil ? nil : mean + n
  squares?.update(repeating: 0, count: n)
  var count = 0.0
  try probe(map, samples: samples, seed: seed, what: "diagonal", progress: progress) { z, product in
    count += 1
    for i in 0..<n {
      let x = Double(z[i]) * Double(product[i])
      let d = x - mean[i]
      mean[i] += d / count
      if let squares { squares[i] += d * (x - mean[i]) }
    }
  }
  for i in 0..<n {
    diagonal[i] = Float(mean[i])
    if let standardErrors, let squares {
      standardErrors[i] = count > 1 ? Float((squares[i] / (count - 1) / count).squareRoot()) : .infinity
    }
  }
}

/// Products with vectors of random signs.
private func probe(
  _ map: some LinearMap, samples: Int, seed: UInt64, what: String, progress: ((Int) throws(CetError) -> Void)?,
  _ body: (UnsafePointer<Float>, UnsafePointer<Float>) -> Void
) throws(CetError) {
  let n = map.dimension
  guard n >= 1 else { throw CetError(.invalidArgument, "the linear map has dimension \(n)") }
  guard samples >= 1 else { throw CetError(.invalidArgument, "the \(what) needs at least 1 sample, got \(samples)") }
  let memory = try Storage(byteCount: 2 * n * MemoryLayout<Float>.stride)
  let z = memory.pointer.assumingMemoryBound(to: Float.self)
  let product = z + n
  var random = Random(seed: seed)
  for sample in 1...samples {
    random.fillWithSigns(z, n)
    try map.apply(z, product)
    guard ck_dot_f32(product, product, n).isFinite else {
      throw CetError(.numeric, "the linear map returned a value that is not finite (apply \(sample))")
    }
    body(z, product)
    try progress?(sample)
  }
}

/// Mean and variance in one pass (Welford 1962).
struct RunningMoments {
  var count = 0.0
  var mean = 0.0
  var squares = 0.0

  mutating func add(_ x: Double) {
    count += 1
    let d = x - mean
    mean += d / count
    squares += d * (x - mean)
  }

  /// Of the mean; infinite with one value.
  var standardError: Double { count > 1 ? (squares / (count - 1) / count).squareRoot() : .infinity }

  var value: TraceEstimate.Value { TraceEstimate.Value(trace: mean, standardError: standardError) }
}
