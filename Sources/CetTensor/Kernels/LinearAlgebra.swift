import COpenBLAS

/// Dense linear algebra on the calling thread. All matrices are row-major; sizes were checked by the caller
/// of the pointer functions and are checked here by the array functions. Symmetric matrices are stored in
/// full unless a function says which triangle it reads. A failure is a `CetError` of code `.numeric`.
///
/// Every call runs inside `SerialKernels`, wherever it is made from: a product that the library split over its
/// own threads would have other bits.
public enum LinearAlgebra {
  /// Whether an operand of a product is used as it is or transposed.
  public enum Operand: Sendable {
    case plain, transposed
    var cblas: CBLAS_TRANSPOSE { self == .plain ? CblasNoTrans : CblasTrans }
  }

  // MARK: products

  /// C = alpha op(A) op(B) + beta C in single precision, op(A) m×k, op(B) k×n; the strides are those of the stored rows.
  public static func sgemm(
    _ a: UnsafePointer<Float>, _ aForm: Operand, stride aStride: Int,
    _ b: UnsafePointer<Float>, _ bForm: Operand, stride bStride: Int,
    into c: UnsafeMutablePointer<Float>, stride cStride: Int,
    m: Int, n: Int, k: Int, alpha: Float = 1, beta: Float = 0
  ) throws(CetError) {
    guard m > 0, n > 0 else { return }
    try checkSizes(m, n, k, aStride, bStride, cStride)
    #if CET_ONEDNN
      // oneDNN chooses by what the processor can do; an OpenBLAS older than the processor falls back to SSE.
      return try OneDNN.multiply(
        a, stride: max(aStride, 1), transposed: aForm == .transposed, b, stride: max(bStride, 1),
        transposed: bForm == .transposed, into: c, stride: cStride, alpha: alpha, beta: beta, m, n, k)
    #else
      try OpenBLASCall.serial {
        cblas_sgemm(
          CblasRowMajor, aForm.cblas, bForm.cblas, Int32(m), Int32(n), Int32(k),
          alpha, a, Int32(max(aStride, 1)), b, Int32(max(bStride, 1)), beta, c, Int32(cStride))
      }
    #endif
  }

  /// C = alpha op(A) op(B) + beta C in double precision; see `sgemm`.
  public static func dgemm(
    _ a: UnsafePointer<Double>, _ aForm: Operand, stride aStride: Int,
    _ b: UnsafePointer<Double>, _ bForm: Operand, stride bStride: Int,
    into c: UnsafeMutablePointer<Double>, stride cStride: Int,
    m: Int, n: Int, k: Int, alpha: Double = 1, beta: Double = 0
  ) throws(CetError) {
    guard m > 0, n > 0 else { return }
    try checkSizes(m, n, k, aStride, bStride, cStride)
    try OpenBLASCall.serial {
      cblas_dgemm(
        CblasRowMajor, aForm.cblas, bForm.cblas, Int32(m), Int32(n), Int32(k),
        alpha, a, Int32(max(aStride, 1)), b, Int32(max(bStride, 1)), beta, c, Int32(cStride))
    }
  }

  /// C = Aᵀ A + beta C in single precision, A rows×n with the given row stride, C n×n. Only the lower triangle of
  /// the result counts.
  public static func ssyrk(
    _ a: UnsafePointer<Float>, rows: Int, columns n: Int, stride: Int, beta: Float, into c: UnsafeMutablePointer<Float>
  ) throws(CetError) {
    guard n > 0 else { return }
    try checkSizes(rows, n, stride, n, n, n)
    #if CET_ONEDNN
      // The fast kernel for all pairs takes less time than a slow one for half of them: strips of rows, each up to its diagonal.
      let strip = 144
      for top in Swift.stride(from: 0, to: n, by: strip) {
        let height = min(strip, n - top)
        try sgemm(
          a + top, .transposed, stride: stride, a, .plain, stride: stride, into: c + top * n, stride: n, m: height, n: top + height,
          k: rows, beta: beta)
      }
    #else
      try OpenBLASCall.serial {
        cblas_ssyrk(CblasRowMajor, CblasLower, CblasTrans, Int32(n), Int32(rows), 1, a, Int32(max(stride, 1)), beta, c, Int32(n))
      }
    #endif
  }

  // MARK: Cholesky. LAPACK is column-major: its upper triangle is the lower one of the same row-major memory.

  /// A = L Lᵀ in place of the lower triangle of A, whose rows are `stride` apart; false when A is not positive definite.
  static func factor(_ a: UnsafeMutablePointer<Double>, n: Int, stride: Int) throws(CetError) -> Bool {
    let (size, step) = (try lapackSize(n), try lapackSize(stride))
    let info = try OpenBLASCall.serial { LAPACKE_dpotrf_work(LAPACK_COL_MAJOR, upper, size, a, max(step, 1)) }
    guard info >= 0 else { throw failure("dpotrf", info) }
    return info == 0
  }

  /// L⁻¹ in place of the lower triangular L, whose rows are `stride` apart.
  static func invertTriangle(_ l: UnsafeMutablePointer<Double>, n: Int, stride: Int) throws(CetError) {
    let (size, step) = (try lapackSize(n), try lapackSize(stride))
    let info = try OpenBLASCall.serial { LAPACKE_dtrtri_work(LAPACK_COL_MAJOR, upper, nonUnit, size, l, max(step, 1)) }
    guard info == 0 else { throw failure("dtrtri", info) }
  }

  /// X = B A⁻¹ in place of B (rows×n), given A = L Lᵀ.
  static func solve(
    _ l: UnsafePointer<Double>, n: Int, rightHandSides b: UnsafeMutablePointer<Double>, rows: Int
  ) throws(CetError) {
    let (size, count) = (try lapackSize(n), try lapackSize(rows))
    let info = try OpenBLASCall.serial { LAPACKE_dpotrs_work(LAPACK_COL_MAJOR, upper, size, count, l, size, b, size) }
    guard info == 0 else { throw failure("dpotrs", info) }
  }

  // MARK: eigenvalues

  /// dsyevd counts its 2n² + 6n + 1 numbers for work in 32 bits.
  public static let largestEigenproblem = 32_766

  /// Eigenvalues (ascending) and unit eigenvectors (vector i is row i) of a dense symmetric n×n matrix,
  /// of which the lower triangle is read.
  public static func symmetricEigen(_ a: [Double], n: Int) throws(CetError) -> (values: [Double], vectors: [Double]) {
    guard n <= largestEigenproblem else {
      throw CetError(.outOfMemory, "an eigenproblem of size \(n), LAPACK takes at most \(largestEigenproblem)")
    }
    guard a.count == n * n else { throw CetError(.shapeMismatch, "a symmetric \([n, n].shapeText) matrix got \(a.count) values") }
    guard n > 0 else { return ([], []) }
    try checkFinite(a, "symmetric eigenproblem")
    var vectors = a
    var values = [Double](repeating: 0, count: n)
    let size = try lapackSize(n)
    let info = try OpenBLASCall.serial { LAPACKE_dsyevd(LAPACK_COL_MAJOR, wantVectors, upper, size, &vectors, size, &values) }
    guard info == 0 else { throw failure("dsyevd", info) }
    return (values, vectors)
  }

  // MARK: checks

  private static let upper = CChar(UInt8(ascii: "U"))
  private static let nonUnit = CChar(UInt8(ascii: "N"))
  private static let wantVectors = CChar(UInt8(ascii: "V"))

  private static func failure(_ routine: String, _ info: Int32) -> CetError {
    CetError(.numeric, "\(routine) failed with info \(info)")
  }

  /// n, where BLAS and LAPACK can take it.
  static func checkedSize(_ n: Int) throws(CetError) -> Int { Int(try lapackSize(n)) }

  private static func lapackSize(_ n: Int) throws(CetError) -> Int32 {
    guard n >= 0, n <= 1 << 30 else { throw CetError(.shapeMismatch, "matrix size \(n) is beyond LAPACK's range") }
    return Int32(n)
  }

  private static func checkSizes(_ sizes: Int...) throws(CetError) {
    for size in sizes where size < 0 || size > 1 << 30 {
      throw CetError(.shapeMismatch, "matrix size \(size) is beyond BLAS's range")
    }
  }

  private static func checkFinite(_ values: [Double], _ what: String) throws(CetError) {
    for value in values where !value.isFinite { throw CetError(.numeric, "\(what): the matrix holds \(value)") }
  }
}
