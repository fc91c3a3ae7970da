import CKernels
import CetTensor

/// The input covariance of a linear layer as compensated rounding needs it, made once and shared by every bit
/// width and by every matrix that reads the same input:
///   H = (C + λI) / mean diag C, columns by descending diagonal, and M with H = Mᵀ M, M lower triangular.
/// Normalising H leaves rounding unchanged and keeps floats in range.
///
/// With e = w − Q(w), e H eᵀ = Σ_k (M_kk e_k + Σ_{j<k} M_kj e_j)²: column k adds nothing where Q(w)_k is
/// w_k + Σ_{j<k} M_kj / M_kk e_j, and each column is rounded to the code nearest to that (Babai's nearest plane). These are the
/// codes of GPTQ (arXiv 2210.17323, Algorithm 1), which says the same by U = M⁻ᵀ, H⁻¹ = Uᵀ U, and needs the inverse for it.
public final class CurvatureFactor: @unchecked Sendable {  // immutable after init
  public let dimension: Int
  /// mean diag C: errors in units of H times this are in units of C.
  public let unit: Double
  /// λ / mean diag C, larger than asked for when C was not positive definite enough.
  public let relativeDamping: Double
  /// order[position] = original column.
  public let order: [Int]

  /// That `order` follows; nil: none.
  let walk: TrellisWalk?

  /// The order in which columns are rounded.
  public enum ColumnOrder: Sendable, Hashable {
    /// Columns of large input variance first, while the most columns are left to make up for their errors.
    case fallingVariance
    /// Columns as codes that depend on the ones before them are read.
    case walk(TrellisWalk)

    /// Columns as they stand.
    public static let natural = ColumnOrder.walk(.straight)
  }
  /// H in the permuted order, full, row-major.
  let h: FloatBuffer
  /// What column k takes of the error of column j: feedback[k · dimension + j] = M_kj / M_kk for j < k, and M_kk for j = k. The
  /// rest is undefined.
  let feedback: FloatBuffer
  /// 1 / H_jj.
  let inverseDiagonal: FloatBuffer
  /// Whether H is the identity, which is then not held: only trellis codes know how to go without it.
  let isIdentity: Bool

  /// H = I: the error that counts is Σ (Q(w) − w)², in units of one.
  public init(identity dimension: Int, walk: TrellisWalk = .straight) throws(CetError) {
    guard dimension >= 1 else { throw CetError(.shapeMismatch, "a covariance of dimension \(dimension)") }
    self.dimension = dimension
    unit = 1
    relativeDamping = 0
    order = walk.columns(dimension)
    self.walk = walk
    h = try FloatBuffer(1)
    feedback = try FloatBuffer(1)
    inverseDiagonal = try FloatBuffer(1)
    isIdentity = true
  }

  /// - Parameters:
  ///   - covariance: K × K, row-major, symmetric positive semidefinite (rounding errors are damped away;
  ///     zero rows are columns that no sample used).
  ///   - relativeDamping: λ / mean diag C; see `SamplePolicy`.
  public init(
    covariance: [Double], dimension: Int, relativeDamping: Double = 0.01, columns: ColumnOrder = .fallingVariance, workers: Workers = Workers(threads: 1)
  ) throws(CetError) {
    guard dimension >= 1, [dimension, dimension].validatedCount == covariance.count else {
      throw CetError(.shapeMismatch, "a covariance of dimension \(dimension) got \(covariance.count) values")
    }
    guard relativeDamping >= 0, relativeDamping.isFinite else {
      throw CetError(.invalidArgument, "damping must be a finite number of at least 0, got \(relativeDamping)")
    }
    let n = dimension
    self.dimension = n
    var trace = 0.0
    for i in 0..<n { trace += max(covariance[i * n + i], 0) }
    let mean = trace / Double(n)
    guard mean.isFinite else { throw CurvatureFactor.notFinite }
    let unit = mean > 0 ? mean : 1
    self.unit = unit
    // Equal diagonals keep their original order, so that the result is reproducible.
    let order =
      switch columns {
      case .fallingVariance: (0..<n).sorted { (covariance[$0 * n + $0], $1) > (covariance[$1 * n + $1], $0) }
      case .walk(let walk): walk.columns(n)
      }
    self.order = order
    let walk: TrellisWalk? = if case .walk(let walk) = columns { walk } else { nil }
    self.walk = walk

    let h = try FloatBuffer(n * n)
    let feedback = try FloatBuffer(n * n)
    let inverseDiagonal = try FloatBuffer(n)
    let work = try Storage(byteCount: n * n * MemoryLayout<Double>.stride)
    let a = work.pointer.assumingMemoryBound(to: Double.self)

    /// Rows by the threads, many at a time: starting a thread costs more than a short row.
    func rows(_ body: (Int) throws -> Void) throws(CetError) {
      let step = max(1, (1 << 18) / n)
      try workers.forEach((n + step - 1) / step) { part in
        for row in (part * step)..<min((part + 1) * step, n) { try body(row) }
      }
    }

    // A matrix without any curvature counts as the identity: rounding is then to nearest.
    var damping = mean > 0 ? relativeDamping : 1
    var attempts = 0
    let rotated = covariance.withUnsafeBufferPointer { c in
      c.baseAddress.flatMap { c in walk.flatMap { $0.rotation > 1 ? $0.rotated(c, dimension: n) : nil } }
    }
    // Of a rotated matrix the rows stand in order.
    let source = rotated == nil ? order : Array(0..<n)
    try (rotated ?? covariance).withUnsafeBufferPointer { c throws(CetError) in
      while true {
        // Reversing rows and columns turns H = Mᵀ M into an ordinary Cholesky factorisation.
        try rows { i in
          let row = source[n - 1 - i] * n
          var sum = 0.0
          for j in 0...i {
            let value = c[row + source[n - 1 - j]] / unit
            sum += value - value  // NaN where the value is not finite
            a[i * n + j] = value
          }
          guard sum == 0 else { throw CurvatureFactor.notFinite }
          a[i * n + i] = max(a[i * n + i], 0) + damping
        }
        if try LinearAlgebra.choleskyInPlace(a, n: n, workers: workers) { break }
        attempts += 1
        guard attempts <= 16 else { throw CetError(.numeric, "the covariance is not positive semidefinite") }
        damping = max(4 * damping, 1e-8)
      }
      try rows { i in
        let row = source[i] * n
        let target = h.pointer + i * n
        for j in 0..<n { target[j] = Float(c[row + source[j]] / unit) }
        var low: Float = 0
        var high: Float = 0
        guard ck_range_f32(target, &low, &high, n) else { throw CurvatureFactor.notFinite }
        let diagonal = Float(max(c[row + source[i]] / unit, 0) + damping)
        target[i] = diagonal
        inverseDiagonal.pointer[i] = 1 / diagonal
      }
    }
    // M_kj stands in row n − 1 − j, column n − 1 − k: squares of both matrices that fit the cache.
    let edge = 64
    let edges = Array(stride(from: 0, to: n, by: edge))
    try workers.forEach(edges.count) { index in
      let lines = edges[index]..<min(edges[index] + edge, n)
      for left in stride(from: 0, to: lines.upperBound, by: edge) {
        for k in lines {
          let own = a[(n - 1 - k) * n + (n - 1 - k)]
          let target = feedback.pointer + k * n
          for j in left..<min(left + edge, k) { target[j] = Float(a[(n - 1 - j) * n + (n - 1 - k)] / own) }
          if left <= k, k < left + edge { target[k] = Float(own) }
        }
      }
    }
    self.relativeDamping = damping
    self.h = h
    self.feedback = feedback
    self.inverseDiagonal = inverseDiagonal
    isIdentity = false
  }

  private static let notFinite = CetError(.numeric, "the covariance holds a value that is not finite")
}
