import CKernels
import CetTensor

/// Up to `rows` orthonormal vectors of length n, as float32 or bfloat16.
///
/// Coordinates are cut into panels: a panel holds its stretch of every vector, one after another. A pass over the
/// basis reads memory (or a mapped file) once from front to back, and a rotation happens within each panel. A sum over
/// a vector is the sum of the panels in their order, whatever the number of threads.
final class Basis {
  let n: Int
  let rows: Int
  let type: BasisType
  let workers: Workers
  /// For what goes through a vector or two, and not through the basis.
  private let vectorWorkers: Workers
  let memory: BasisMemory

  static let width = 1 << 14

  init(n: Int, rows: Int, type: BasisType = .float32, folder: String? = nil, workers: Workers) throws(CetError) {
    guard let bytes = [n, rows, type.byteCount].validatedCount else {
      throw CetError(.outOfMemory, "a basis of \(rows) vectors of \(n) elements is too large")
    }
    self.n = n
    self.rows = rows
    self.type = type
    self.workers = workers
    vectorWorkers = workers.limited(forOnePassOver: n)
    memory = try BasisMemory(byteCount: bytes, folder: folder)
  }

  var panels: Int { (n + Basis.width - 1) / Basis.width }

  func columns(_ panel: Int) -> Range<Int> { (panel * Basis.width)..<min((panel + 1) * Basis.width, n) }

  /// Row `row` of a panel.
  func address(_ panel: Int, _ row: Int) -> UnsafeMutableRawPointer {
    memory.pointer + (panel * Basis.width * rows + row * columns(panel).count) * type.byteCount
  }

  func floats(_ panel: Int, _ row: Int) -> UnsafeMutablePointer<Float> {
    address(panel, row).assumingMemoryBound(to: Float.self)
  }

  func halves(_ panel: Int, _ row: Int) -> UnsafeMutablePointer<UInt16> {
    address(panel, row).assumingMemoryBound(to: UInt16.self)
  }

  /// The stored bytes of the first `count` rows of a panel.
  func bytes(_ panel: Int, rows count: Int) -> UnsafeMutableRawBufferPointer {
    UnsafeMutableRawBufferPointer(start: address(panel, 0), count: count * columns(panel).count * type.byteCount)
  }

  // MARK: Vectors in and out

  /// Stores a vector, rounded to the basis's type.
  func store(_ w: UnsafePointer<Float>, at row: Int) throws(CetError) {
    try vectorWorkers.forEach(panels) { panel in
      let part = columns(panel)
      switch type {
      case .float32: floats(panel, row).update(from: w + part.lowerBound, count: part.count)
      case .bfloat16: ck_narrow_bf16(w + part.lowerBound, halves(panel, row), part.count)
      }
    }
  }

  /// The vector as it is stored.
  func load(_ row: Int, into w: UnsafeMutablePointer<Float>) throws(CetError) {
    try vectorWorkers.forEach(panels) { panel in
      let part = columns(panel)
      switch type {
      case .float32: (w + part.lowerBound).update(from: floats(panel, row), count: part.count)
      case .bfloat16: ck_widen_bf16(halves(panel, row), w + part.lowerBound, part.count)
      }
    }
  }

  /// Copies `count` rows to an earlier place.
  func move(_ row: Int, to target: Int, count: Int) throws(CetError) {
    guard row != target, count > 0 else { return }
    try workers.forEach(panels) { panel in
      let stride = columns(panel).count * type.byteCount
      for i in 0..<count {
        (address(panel, target + i)).copyMemory(from: address(panel, row + i), byteCount: stride)
      }
    }
  }

  // MARK: Sums

  /// Inner products of `count` vectors with the basis and with each other.
  struct Products {
    /// ⟨v_i, w_c⟩ at i · columns + c.
    var withBasis: [Double]
    /// ⟨w_c, w_d⟩ at c · columns + d.
    var gram: [Double]
  }

  /// In one pass over the basis: w_c ← Σ_d w_d m[d][c] (upper triangular m), then w_c ← w_c − Σ_i v_i h[i][c], then
  /// the products of the result (with the basis only if `measure`). `w` holds `columns` vectors, `count` are the basis
  /// vectors in use.
  func pass(
    _ w: UnsafeMutablePointer<Float>, columns: Int, count: Int, combine m: [Double]? = nil, subtract h: [Double]? = nil,
    measure: Bool = true
  ) throws(CetError) -> Products {
    let measured = measure ? count : 0
    var sum = Products(
      withBasis: [Double](repeating: 0, count: measured * columns), gram: [Double](repeating: 0, count: columns * columns))
    // Column by column, as the kernels take them.
    let byColumn = h.map { h in (0..<columns).map { c in (0..<count).map { h[$0 * columns + c] } } }
    try workers.ordered(panels) { panel in
      let part = self.columns(panel)
      let start = w + part.lowerBound
      if let m { ck_basis_combine_f32(m, start, n, columns, part.count) }
      var partial = Products(withBasis: [], gram: [Double](repeating: 0, count: columns * columns))
      var dots = [Double](repeating: 0, count: measured)
      for c in 0..<columns {
        let column = start + c * n
        if let byColumn, count > 0 {
          switch type {
          case .float32: ck_basis_subtract_f32(floats(panel, 0), part.count, byColumn[c], column, count, part.count)
          case .bfloat16: ck_basis_subtract_bf16(halves(panel, 0), part.count, byColumn[c], column, count, part.count)
          }
        }
        if measured > 0 {
          switch type {
          case .float32: ck_basis_dots_f32(floats(panel, 0), part.count, column, &dots, measured, part.count)
          case .bfloat16: ck_basis_dots_bf16(halves(panel, 0), part.count, column, &dots, measured, part.count)
          }
          partial.withBasis += dots
        }
        for d in 0...c {
          let product = ck_dot_f32(column, start + d * n, part.count)
          partial.gram[c * columns + d] = product
          partial.gram[d * columns + c] = product
        }
      }
      return partial
    } combine: { _, partial in
      for c in 0..<columns {
        for i in 0..<measured { sum.withBasis[i * columns + c] += partial.withBasis[c * measured + i] }
      }
      for k in sum.gram.indices { sum.gram[k] += partial.gram[k] }
    }
    return sum
  }

  /// ⟨a, b⟩ of two vectors outside the basis.
  func dot(_ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>) throws(CetError) -> Double {
    var sum = 0.0
    try vectorWorkers.ordered(panels) { panel in
      let part = columns(panel)
      return ck_dot_f32(a + part.lowerBound, b + part.lowerBound, part.count)
    } combine: { sum += $1 }
    return sum
  }

  func norm(_ w: UnsafePointer<Float>) throws(CetError) -> Double { try dot(w, w).squareRoot() }

  /// ‖y − a x‖
  func residualNorm(_ y: UnsafePointer<Float>, _ a: Double, _ x: UnsafePointer<Float>) throws(CetError) -> Double {
    var sum = 0.0
    try vectorWorkers.ordered(panels) { panel in
      let part = columns(panel)
      return ck_residual_squares_f32(a, x + part.lowerBound, y + part.lowerBound, part.count)
    } combine: { sum += $1 }
    return sum.squareRoot()
  }

  func scale(_ w: UnsafeMutablePointer<Float>, by factor: Double) throws(CetError) {
    try vectorWorkers.forEach(panels) { panel in
      let part = columns(panel)
      ck_scale_wide_f32(factor, w + part.lowerBound, part.count)
    }
  }
}
