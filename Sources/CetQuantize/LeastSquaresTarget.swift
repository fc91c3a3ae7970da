import CetTensor

/// Step 7: weights for the inputs that a partly quantized network really sees.
public enum LeastSquaresTarget {
  /// The minimiser of E‖W p_f + r_f − (T p_q + r_q)‖² + ρ‖T − W‖² over centred inputs:
  ///   T = W + (W (M − C_q) + S)(C_q + ρ I)⁻¹,   ρ = ridge · mean diag C_q
  /// - Parameters:
  ///   - weights: O × K.
  ///   - covariance: C_q = Cov(p_q), K × K row-major.
  ///   - cross: M = Cov(p_f, p_q), K × K row-major.
  ///   - residual: S = Cov(r_f − r_q, p_q), O × K row-major; empty when nothing is added to the output.
  /// - Returns: `weights` unchanged when the inputs do not vary.
  public static func target(
    _ weights: WeightMatrix, covariance: [Double], cross: [Double], residual: [Double], ridge: Double
  ) throws -> WeightMatrix {
    let (rows, k) = (weights.rows, weights.columns)
    guard covariance.count == k * k, cross.count == k * k, residual.isEmpty || residual.count == rows * k else {
      throw CetError(
        .shapeMismatch,
        "a \([rows, k].shapeText) matrix got covariances of \(covariance.count), \(cross.count) and \(residual.count) values")
    }
    guard ridge > 0, ridge.isFinite else { throw CetError(.invalidArgument, "a ridge must be positive, got \(ridge)") }
    let mean = (0..<k).reduce(0.0) { $0 + covariance[$1 * k + $1] } / Double(max(k, 1))
    guard mean > 0, mean.isFinite, rows > 0 else { return weights }
    let difference = (0..<(k * k)).map { cross[$0] - covariance[$0] }
    var right = try LinearAlgebra.product(weights.values.map(Double.init), difference, m: rows, k: k, n: k)
    for i in residual.indices { right[i] += residual[i] }
    var damped = covariance
    for i in 0..<k { damped[i * k + i] += ridge * mean }
    try damped.withUnsafeMutableBufferPointer { a in
      try right.withUnsafeMutableBufferPointer { b in
        guard let a = a.baseAddress, let b = b.baseAddress else { return }
        guard try LinearAlgebra.choleskyInPlace(a, n: k) else {
          throw CetError(.numeric, "the input covariance is not positive definite after damping")
        }
        try LinearAlgebra.solveFromCholesky(a, n: k, rightHandSides: b, rows: rows)
      }
    }
    return try WeightMatrix(
      zip(weights.values, right).map { Float(Double($0) + $1) }, rows: rows, columns: k)
  }

  /// Fewer patches than twice the columns cannot tell a change of the inputs from noise.
  public static func isTrustworthy(patches: Int, columns: Int) -> Bool { patches >= 2 * columns }
}

/// Step 7b: least squares and scale refits shrink the variance of the outputs; this gives it back.
public enum VarianceMatching {
  /// Per row clamp(√(Var(w·p_f) / Var(ŵ·p_q)), 0.8, 1.25); 1 where a variance vanishes.
  /// - Parameters:
  ///   - weights: what the fp32 network has, O × K; `covariance` is that of its inputs.
  ///   - quantized: O × K, row-major; `quantizedCovariance` is that of the quantized network's inputs.
  public static func factors(
    _ weights: WeightMatrix, covariance: [Double], quantized: [Float], quantizedCovariance: [Double]
  ) throws -> [Float] {
    guard quantized.count == weights.values.count else {
      throw CetError(.shapeMismatch, "\(quantized.count) quantized weights for \(weights.values.count) weights")
    }
    let before = try variances(weights.values, weights.rows, weights.columns, covariance)
    let after = try variances(quantized, weights.rows, weights.columns, quantizedCovariance)
    return zip(before, after).map { v, w in
      v > 0 && w > 0 ? Float(min(max((v / w).squareRoot(), 0.8), 1.25)) : 1
    }
  }

  /// w C wᵀ for every row.
  private static func variances(_ w: [Float], _ rows: Int, _ k: Int, _ covariance: [Double]) throws -> [Double] {
    let values = w.map(Double.init)
    let product = try LinearAlgebra.product(values, covariance, m: rows, k: k, n: k)
    return (0..<rows).map { row in
      (0..<k).reduce(0.0) { $0 + product[row * k + $1] * values[row * k + $1] }
    }
  }
}
