import COpenBLAS

/// Factorisations and products of large matrices by tiles, on several threads. The tiles depend on the sizes alone: the
/// result has the same bits for any number of threads. Matrices as in `LinearAlgebra`.
extension LinearAlgebra {
  /// Large enough for the products to run at full speed, small enough that several threads have tiles to do.
  private static let tile = 256

  private static func tiles(_ range: Range<Int>) -> [Range<Int>] {
    stride(from: range.lowerBound, to: range.upperBound, by: tile).map { $0..<min($0 + tile, range.upperBound) }
  }

  /// The m×n product A B of full row-major arrays, A m×k and B k×n.
  public static func product(
    _ a: [Double], _ b: [Double], m: Int, k: Int, n: Int, workers: Workers = Workers(threads: 1)
  ) throws(CetError) -> [Double] {
    guard a.count == m * k, b.count == k * n else {
      throw CetError(.shapeMismatch, "product of \([m, k].shapeText) and \([k, n].shapeText) got \(a.count) and \(b.count) values")
    }
    var result = [Double](repeating: 0, count: m * n)
    let columns = tiles(0..<n)
    try result.withUnsafeMutableBufferPointer { c throws(CetError) in
      try a.withUnsafeBufferPointer { a throws(CetError) in
        try b.withUnsafeBufferPointer { b throws(CetError) in
          guard let a = a.baseAddress, let b = b.baseAddress, let c = c.baseAddress else { return }
          try workers.forEach(columns.count) { index in
            let part = columns[index]
            try dgemm(
              a, .plain, stride: k, b + part.lowerBound, .plain, stride: n, into: c + part.lowerBound, stride: n, m: m,
              n: part.count, k: k)
          }
        }
      }
    }
    return result
  }

  /// Per row w of W (m×n) w C wᵀ, for the symmetric n×n matrix C, of which the lower triangle is read.
  public static func quadraticForms(
    _ w: [Double], _ c: [Double], rows m: Int, n: Int, workers: Workers = Workers(threads: 1)
  ) throws(CetError) -> [Double] {
    guard w.count == m * n, c.count == n * n else {
      throw CetError(
        .shapeMismatch, "quadratic forms of \([m, n].shapeText) rows in \([n, n].shapeText) got \(w.count) and \(c.count) values")
    }
    guard m > 0, n > 0 else { return [Double](repeating: 0, count: m) }
    // W (L + I), L what is below the diagonal: w C wᵀ is twice w L wᵀ and the diagonal's part.
    var product = w
    let size = Int32(try checkedSize(n))
    let parts = stride(from: 0, to: m, by: 64).map { $0..<min($0 + 64, m) }
    try product.withUnsafeMutableBufferPointer { b throws(CetError) in
      try c.withUnsafeBufferPointer { c throws(CetError) in
        guard let b = b.baseAddress, let c = c.baseAddress else { return }
        try workers.forEach(parts.count) { index in
          try OpenBLASCall.serial {
            cblas_dtrmm(
              CblasRowMajor, CblasRight, CblasLower, CblasNoTrans, CblasUnit, Int32(parts[index].count), size, 1, c, size,
              b + parts[index].lowerBound * n, size)
          }
        }
      }
    }
    return (0..<m).map { row in
      (row * n..<(row + 1) * n).reduce(0.0) { sum, at in
        let diagonal = c[(at - row * n) * (n + 1)]
        return sum + w[at] * (2 * (product[at] - w[at]) + w[at] * diagonal)
      }
    }
  }

  /// A = L Lᵀ in place: reads the lower triangle of the n×n matrix and writes L there; the strict upper
  /// triangle is untouched. False when A is not positive definite to working precision.
  ///
  /// Tile column k: A_kk = L_kk L_kkᵀ, L_ik = A_ik L_kk⁻ᵀ, and A_ij ← A_ij − L_ik L_jkᵀ for what is right of it.
  public static func choleskyInPlace(
    _ a: UnsafeMutablePointer<Double>, n: Int, workers: Workers = Workers(threads: 1)
  ) throws(CetError) -> Bool {
    guard n > 0 else { return true }
    let stride = Int32(try checkedSize(n))
    for column in tiles(0..<n) {
      let k = column.lowerBound
      guard try factor(a + k * n + k, n: column.count, stride: n) else { return false }
      let below = tiles(column.upperBound..<n)
      try workers.forEach(below.count) { index in
        try OpenBLASCall.serial {
          cblas_dtrsm(
            CblasRowMajor, CblasRight, CblasLower, CblasTrans, CblasNonUnit, Int32(below[index].count),
            Int32(column.count), 1, a + k * n + k, stride, a + below[index].lowerBound * n + k, stride)
        }
      }
      let pairs = below.flatMap { row in below.filter { $0.lowerBound <= row.lowerBound }.map { (row, $0) } }
      try workers.forEach(pairs.count) { index in
        let (i, j) = pairs[index]
        let target = a + i.lowerBound * n + j.lowerBound
        if i == j {
          try OpenBLASCall.serial {
            cblas_dsyrk(
              CblasRowMajor, CblasLower, CblasNoTrans, Int32(i.count), Int32(column.count), -1, a + i.lowerBound * n + k,
              stride, 1, target, stride)
          }
        } else {
          try dgemm(
            a + i.lowerBound * n + k, .plain, stride: n, a + j.lowerBound * n + k, .transposed, stride: n, into: target,
            stride: n, m: i.count, n: j.count, k: column.count, alpha: -1, beta: 1)
        }
      }
    }
    return true
  }

  /// L⁻¹ in place of the lower triangular n×n matrix L (its strict upper triangle is untouched).
  public static func invertLowerTriangleInPlace(
    _ l: UnsafeMutablePointer<Double>, n: Int, workers: Workers = Workers(threads: 1)
  ) throws(CetError) {
    guard n > 0 else { return }
    try invert(l, n: n, stride: try checkedSize(n), workers)
  }

  /// Of [A 0; B C] the inverse is [A⁻¹ 0; −C⁻¹ B A⁻¹ C⁻¹].
  private static func invert(_ l: UnsafeMutablePointer<Double>, n: Int, stride: Int, _ workers: Workers) throws(CetError) {
    guard n > tile else { return try invertTriangle(l, n: n, stride: stride) }
    let first = (n / tile + 1) / 2 * tile
    let (b, c) = (l + first * stride, l + first * stride + first)
    try invert(l, n: first, stride: stride, workers)
    try invert(c, n: n - first, stride: stride, workers)
    let (rows, columns) = (tiles(0..<(n - first)), tiles(0..<first))
    let step = Int32(stride)
    try workers.forEach(rows.count) { index in
      try OpenBLASCall.serial {
        cblas_dtrmm(
          CblasRowMajor, CblasRight, CblasLower, CblasNoTrans, CblasNonUnit, Int32(rows[index].count), Int32(first), -1, l,
          step, b + rows[index].lowerBound * stride, step)
      }
    }
    try workers.forEach(columns.count) { index in
      try OpenBLASCall.serial {
        cblas_dtrmm(
          CblasRowMajor, CblasLeft, CblasLower, CblasNoTrans, CblasNonUnit, Int32(n - first), Int32(columns[index].count), 1,
          c, step, b + columns[index].lowerBound, step)
      }
    }
  }

  /// X = B A⁻¹ in place of B (rows×n), given A = L Lᵀ. (A is symmetric: each row of B is one right-hand side.)
  public static func solveFromCholesky(
    _ l: UnsafePointer<Double>, n: Int, rightHandSides b: UnsafeMutablePointer<Double>, rows: Int,
    workers: Workers = Workers(threads: 1)
  ) throws(CetError) {
    guard rows > 0, n > 0 else { return }
    _ = try checkedSize(n)
    let parts = stride(from: 0, to: rows, by: 64).map { $0..<min($0 + 64, rows) }
    try workers.forEach(parts.count) { index in
      try solve(l, n: n, rightHandSides: b + parts[index].lowerBound * n, rows: parts[index].count)
    }
  }
}
