import CetTensor

/// What happens to a layer's output around rounding: bias, least-squares target, variance.
/// Means and variances are per row (output), over patches.
public enum OutputCorrection {
  /// A statistic of the fp32 network: of the layer's inputs p_f, or of its outputs W p_f, which are what it is used for.
  public enum Reference: Sendable {
    case inputs([Double])
    case outputs([Double])

    var values: [Double] { switch self { case .inputs(let values), .outputs(let values): values } }
  }

  /// Of the inputs of a group of rows.
  public struct Means: Sendable {
    /// E[p_f] (K values) or E[W p_f] (one a row) in the fp32 network, and E[p_q] (K values) in the partly quantized one.
    public let full: Reference
    public let quantized: [Double]
    /// E[r_f − r_q], one value a row of the group; empty without a residual operand.
    public let residual: [Double]

    public init(full: Reference, quantized: [Double], residual: [Double] = []) {
      self.full = full
      self.quantized = quantized
      self.residual = residual
    }
  }

  /// Step 4: −(Q(W) − W) μ, to add to the bias; μ = E[p], one a group of rows. The bias then absorbs the mean, which is
  /// why rounding uses the centred covariance.
  public static func bias(_ weights: WeightMatrix, _ matrix: QuantizedMatrix, means: [[Double]]) throws(CetError) -> [Double] {
    try shifts(weights, matrix, means.map { Means(full: .inputs($0), quantized: $0) }) { values, start, group, _, _ in
      var sum = 0.0
      for j in 0..<weights.columns {
        sum += (Double(values[start + j]) - Double(weights.values[start + j])) * group.quantized[j]
      }
      return -sum
    }
  }

  /// Step 7: W μ_f + E[r_f − r_q] − Q(W) μ_q, to add to the bias: the output's mean over the partly quantized
  /// network's inputs becomes that of the fp32 network, mean error of the residual operand included.
  public static func bias(_ weights: WeightMatrix, _ matrix: QuantizedMatrix, means: [Means]) throws(CetError) -> [Double] {
    try shifts(weights, matrix, means) { values, start, group, row, residual in
      var sum = residual
      switch group.full {
      case .inputs(let full):
        for j in 0..<weights.columns {
          sum += Double(weights.values[start + j]) * full[j]
          sum -= Double(values[start + j]) * group.quantized[j]
        }
      case .outputs(let full):
        sum += full[row]
        for j in 0..<weights.columns { sum -= Double(values[start + j]) * group.quantized[j] }
      }
      return sum
    }
  }

  /// Calls `shift` for every row with the dequantized matrix, the place of the row's first entry, the means of its group and its
  /// place in that.
  private static func shifts(
    _ weights: WeightMatrix, _ matrix: QuantizedMatrix, _ means: [Means],
    _ shift: (_ values: [Float], _ start: Int, _ group: Means, _ row: Int, _ residual: Double) -> Double
  ) throws(CetError) -> [Double] {
    try MatrixRounding.check(weights, matrix.grid)
    let (rows, columns) = (weights.rows, weights.columns)
    guard !means.isEmpty, rows % means.count == 0 else {
      throw CetError(.shapeMismatch, "\(rows) rows do not divide into \(means.count) groups")
    }
    let perGroup = rows / means.count
    for group in means {
      let residual = group.residual.isEmpty ? perGroup : group.residual.count
      let expected = if case .inputs = group.full { columns } else { perGroup }
      guard group.full.values.count == expected, group.quantized.count == columns, residual == perGroup else {
        throw CetError(
          .shapeMismatch,
          "a \([perGroup, columns].shapeText) layer got means of \(group.full.values.count), \(group.quantized.count) and \(residual) values")
      }
    }
    let values = matrix.dequantize()
    return try (0..<rows).map { row throws(CetError) in
      let group = means[row / perGroup]
      let sum = shift(values, row * columns, group, row % perGroup, group.residual.isEmpty ? 0 : group.residual[row % perGroup])
      guard sum.isFinite else { throw CetError(.numeric, "the bias correction of row \(row) is not finite") }
      return sum
    }
  }

  /// Step 7: the weights that reproduce the fp32 output best from the inputs that the partly quantized network
  /// has, least squares with ridge ρ = `relativeRidge` · mean diag C_q:
  ///   target = W + (W (M − C_q) + S)(C_q + ρI)⁻¹ = (W M + S + ρ W)(C_q + ρI)⁻¹
  /// where C_q = Cov(p_q), M = Cov(p_f, p_q) (both K × K), S = Cov(r_f − r_q, p_q) (O × K, nil without a residual
  /// operand). In place of M its product W M = Cov(W p_f, p_q) (O × K) does. `patches` is the number of patches behind the covariances.
  ///
  /// With few patches the ridge grows, and with fewer still the target is W itself: nil (`SamplePolicy.ridgeFactor`).
  public static func leastSquaresTarget(
    _ weights: WeightMatrix, quantizedCovariance cq: [Double], crossCovariance cross: Reference, residualCovariance s: [Double]?,
    relativeRidge: Double, patches: Int, workers: Workers = Workers(threads: 1)
  ) throws(CetError) -> WeightMatrix? {
    let (rows, n) = (weights.rows, weights.columns)
    let m = cross.values
    let expected = if case .inputs = cross { n * n } else { rows * n }
    guard cq.count == n * n, m.count == expected, s?.count ?? rows * n == rows * n else {
      throw CetError(
        .shapeMismatch,
        "a \([rows, n].shapeText) layer got covariances of \(cq.count), \(m.count) and \(s?.count ?? rows * n) values")
    }
    guard relativeRidge >= 0, relativeRidge.isFinite else {
      throw CetError(.invalidArgument, "the ridge must be a finite number of at least 0, got \(relativeRidge)")
    }
    guard rows > 0, n > 0, let factor = SamplePolicy.ridgeFactor(patches: patches, columns: n) else { return nil }
    try weights.checkFinite()

    // W M + S.
    var right: [Double]
    switch cross {
    case .inputs: right = try LinearAlgebra.product(weights.values.map(Double.init), m, m: rows, k: n, n: n, workers: workers)
    case .outputs: right = m
    }
    if let s { for i in right.indices { right[i] += s[i] } }
    guard right.allSatisfy({ $0.isFinite }), cq.allSatisfy({ $0.isFinite }) else {
      throw CetError(.numeric, "the covariances of the least-squares target are not finite")
    }

    var trace = 0.0
    for i in 0..<n { trace += max(cq[i * n + i], 0) }
    let unit = trace / Double(n)
    guard unit > 0 else { return nil }  // no input varies: nothing to fit
    var ridge = relativeRidge * factor
    var l = cq
    for attempt in 0... {
      l = cq
      for i in 0..<n { l[i * n + i] += ridge * unit }
      let done = try l.withUnsafeMutableBufferPointer { buffer throws(CetError) in
        guard let base = buffer.baseAddress else { return true }
        return try LinearAlgebra.choleskyInPlace(base, n: n, workers: workers)
      }
      if done { break }
      guard attempt < 16 else { throw CetError(.numeric, "the covariance is not positive semidefinite") }
      ridge = max(4 * ridge, 1e-8)
    }
    for i in right.indices { right[i] += ridge * unit * Double(weights.values[i]) }
    try right.withUnsafeMutableBufferPointer { right throws(CetError) in
      try l.withUnsafeBufferPointer { l throws(CetError) in
        guard let right = right.baseAddress, let l = l.baseAddress else { return }
        try LinearAlgebra.solveFromCholesky(l, n: n, rightHandSides: right, rows: rows, workers: workers)
      }
    }
    let target = try WeightMatrix(right.map { Float($0) }, rows: rows, columns: n)
    try target.checkFinite()
    return target
  }

  /// The variances of the fp32 network's outputs, one a row of W: of C = Cov(p_f) those of `variance`.
  public static func variance(_ weights: WeightMatrix, reference: Reference, workers: Workers = Workers(threads: 1)) throws(CetError) -> [Double] {
    switch reference {
    case .inputs(let covariance): try variance(weights.values, rows: weights.rows, covariance: covariance, workers: workers)
    case .outputs(let variances): variances
    }
  }

  /// Per row w C wᵀ: the variance of the output of `values` (rows × columns, row-major) over patches of covariance C.
  public static func variance(
    _ values: [Float], rows: Int, covariance: [Double], workers: Workers = Workers(threads: 1)
  ) throws(CetError) -> [Double] {
    guard rows > 0 else { return [] }
    return try LinearAlgebra.quadraticForms(values.map(Double.init), covariance, rows: rows, n: values.count / rows, workers: workers)
  }

  /// Step 7b: per row clamp(√(Var of the fp32 output / Var of the quantized output), 0.8, 1.25); 1 where either
  /// variance is not positive. Per tensor all rows get the factor of the summed variances. Multiply the scales
  /// with `QuantizedMatrix.scaleRows`, then correct the bias.
  public static func varianceFactors(
    reference: [Double], quantized: [Double], granularity: Granularity = .perAxis
  ) throws(CetError) -> [Float] {
    guard reference.count == quantized.count else {
      throw CetError(.shapeMismatch, "\(reference.count) variances got \(quantized.count) to match")
    }
    let factor = { (a: Double, b: Double) throws(CetError) -> Float in
      guard a.isFinite, b.isFinite else { throw CetError(.numeric, "an output variance is not finite") }
      guard a > 0, b > 0 else { return 1 }
      return Float(min(max((a / b).squareRoot(), 0.8), 1.25))
    }
    if granularity == .perTensor {
      let shared = try factor(reference.reduce(0, +), quantized.reduce(0, +))
      return [Float](repeating: shared, count: reference.count)
    }
    return try zip(reference, quantized).map(factor)
  }
}
