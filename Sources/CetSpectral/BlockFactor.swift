import CetTensor

/// Small dense factors of blocks of vectors.
enum BlockFactor {
  /// Two m × m matrices, row-major.
  struct Factor {
    /// Gram = upperᵀ upper over the columns that live; rows of the others are 0.
    var upper: [Double]
    /// w · inverse is orthonormal over the columns that live.
    var inverse: [Double]
  }

  /// Cholesky factor of a block's Gram matrix in the order of its columns. A column lives when what is left of it
  /// beside those before it is more than its floor and more than round-off; `lost` says whether one fell to less than
  /// half of `before`.
  static func factor(
    _ gram: [Double], _ m: Int, before: [Double], floor: [Double]
  ) -> (factor: Factor, alive: [Int], lost: Bool) {
    var upper = [Double](repeating: 0, count: m * m)
    var alive: [Int] = []
    var lost = false
    for c in 0..<m {
      for d in alive {
        var sum = gram[d * m + c]
        for k in alive where k < d { sum -= upper[k * m + d] * upper[k * m + c] }
        upper[d * m + c] = sum / upper[d * m + d]
      }
      var rest = gram[c * m + c]
      for d in alive { rest -= upper[d * m + c] * upper[d * m + c] }
      let norm = max(rest, 0).squareRoot()
      guard norm > floor[c], rest > 1e-15 * gram[c * m + c] else { continue }
      upper[c * m + c] = norm
      alive.append(c)
      if norm <= 0.5 * before[c] { lost = true }
    }
    var inverse = [Double](repeating: 0, count: m * m)
    for c in alive {
      inverse[c * m + c] = 1 / upper[c * m + c]
      for d in alive.reversed() where d < c {
        var sum = 0.0
        for k in alive where k > d && k <= c { sum += upper[d * m + k] * inverse[k * m + c] }
        inverse[d * m + c] = -sum / upper[d * m + d]
      }
    }
    return (Factor(upper: upper, inverse: inverse), alive, lost)
  }

  /// h · t over the living columns: h is rows × m.
  static func transform(_ h: [Double], rows: Int, _ m: Int, _ t: [Double], _ alive: [Int]) -> [Double] {
    var result = [Double](repeating: 0, count: rows * alive.count)
    for i in 0..<rows {
      for (target, c) in alive.enumerated() {
        for d in 0...c { result[i * alive.count + target] += h[i * m + d] * t[d * m + c] }
      }
    }
    return result
  }
}

/// Eigenvalues (ascending) and eigenvectors (row i, unit in the inner product of `gram`) of t y = θ gram y.
func generalizedEigen(_ t: [Double], _ gram: [Double], _ m: Int) throws(CetError) -> (values: [Double], vectors: [Double]) {
  var l = gram
  let definite = try l.withUnsafeMutableBufferPointer { l throws(CetError) in
    guard let l = l.baseAddress else { return true }
    guard try LinearAlgebra.choleskyInPlace(l, n: m) else { return false }
    try LinearAlgebra.invertLowerTriangleInPlace(l, n: m)
    return true
  }
  guard definite else { throw CetError(.numeric, "the rounded basis of \(m) vectors has lost its independence") }
  for i in 0..<m { for j in (i + 1)..<max(m, i + 1) { l[i * m + j] = 0 } }
  // (L⁻¹ T L⁻ᵀ) z = θ z, y = L⁻ᵀ z; rows: yᵀ = zᵀ L⁻¹.
  let left = try LinearAlgebra.product(l, t, m: m, k: m, n: m)
  var transposed = [Double](repeating: 0, count: m * m)
  for i in 0..<m { for j in 0..<m { transposed[i * m + j] = l[j * m + i] } }
  let whole = try LinearAlgebra.product(left, transposed, m: m, k: m, n: m)
  let (values, z) = try LinearAlgebra.symmetricEigen(whole, n: m)
  return (values, try LinearAlgebra.product(z, l, m: m, k: m, n: m))
}
