import CKernels
import CetTensor

/// Up to `capacity` orthonormal float vectors of length n in one block of memory.
final class Basis {
  let n: Int
  let capacity: Int
  private let storage: Storage
  private let workers: Workers

  /// Coordinates are worked on in runs of this length: a sum over a vector is the sum of the runs in their
  /// order, whatever the number of threads.
  private static let run = 1 << 16

  init(n: Int, capacity: Int, workers: Workers) throws {
    guard let count = [n, capacity].validatedCount else {
      throw CetError(.outOfMemory, "a basis of \(capacity) vectors of \(n) floats is too large")
    }
    self.n = n
    self.capacity = capacity
    self.workers = workers
    storage = try Storage(byteCount: count * MemoryLayout<Float>.stride)
  }

  func vector(_ index: Int) -> UnsafeMutablePointer<Float> {
    storage.pointer.assumingMemoryBound(to: Float.self) + index * n
  }

  private var runs: Int { (n + Basis.run - 1) / Basis.run }

  private func range(_ run: Int) -> Range<Int> { (run * Basis.run)..<min((run + 1) * Basis.run, n) }

  /// ⟨v_i, w⟩ for i < count.
  func dots(_ w: UnsafePointer<Float>, count: Int) throws -> [Double] {
    var sums = [Double](repeating: 0, count: count)
    try workers.ordered(runs) { run in
      let part = range(run)
      var partial = [Double](repeating: 0, count: count)
      ck_basis_dots(vector(0) + part.lowerBound, n, count, w + part.lowerBound, part.count, &partial)
      return partial
    } combine: { _, partial in
      for i in 0..<count { sums[i] += partial[i] }
    }
    return sums
  }

  func dot(_ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>) throws -> Double {
    var sum = 0.0
    try workers.ordered(runs) { run in
      let part = range(run)
      return ck_dot(a + part.lowerBound, b + part.lowerBound, part.count)
    } combine: { sum += $1 }
    return sum
  }

  func norm(_ w: UnsafePointer<Float>) throws -> Double { try dot(w, w).squareRoot() }

  /// ‖y − a x‖
  func residualNorm(_ y: UnsafePointer<Float>, _ a: Double, _ x: UnsafePointer<Float>) throws -> Double {
    var sum = 0.0
    try workers.ordered(runs) { run in
      let part = range(run)
      return ck_residual_squares(y + part.lowerBound, a, x + part.lowerBound, part.count)
    } combine: { sum += $1 }
    return sum.squareRoot()
  }

  /// w ← w − Σ ⟨v_i, w⟩ v_i over i < count by classical Gram–Schmidt, repeated until the norm stops falling by
  /// more than half ("twice is enough" unless w lies almost in the span). Returns the summed coefficients and
  /// the norm that is left: 0 when nothing but round-off is.
  func orthogonalize(_ w: UnsafeMutablePointer<Float>, count: Int) throws -> (coefficients: [Double], norm: Double) {
    var total = [Double](repeating: 0, count: count)
    var norm = try self.norm(w)
    let whole = norm
    guard count > 0, norm > 0 else { return (total, norm) }
    for pass in 0..<5 {
      let h = try dots(w, count: count)
      try workers.forEach(runs) { run in
        let part = range(run)
        ck_basis_subtract(vector(0) + part.lowerBound, n, count, h, w + part.lowerBound, part.count)
      }
      for i in 0..<count { total[i] += h[i] }
      let before = norm
      norm = try self.norm(w)
      if norm <= 1e-14 * whole { return (total, 0) }
      if pass > 0 && norm > 0.5 * before { return (total, norm) }
    }
    return (total, 0)
  }

  func scale(_ w: UnsafeMutablePointer<Float>, by factor: Double) throws {
    try workers.forEach(runs) { run in
      let part = range(run)
      ck_scale(factor, w + part.lowerBound, part.count)
    }
  }

  /// Vector i ← Σ_j y[i][j] v_j for i < kept: rows of the kept × count matrix y are the new vectors' coordinates.
  func rotate(_ y: [Double], kept: Int, count: Int) throws {
    let width = 4096
    let pieces = (n + width - 1) / width
    try workers.forEach(pieces) { piece in
      let start = piece * width
      let length = min(width, n - start)
      let old = try Storage(byteCount: count * length * MemoryLayout<Double>.stride)
      let new = try Storage(byteCount: kept * length * MemoryLayout<Double>.stride)
      let source = old.pointer.assumingMemoryBound(to: Double.self)
      let target = new.pointer.assumingMemoryBound(to: Double.self)
      for j in 0..<count {
        let v = vector(j) + start
        for k in 0..<length { source[j * length + k] = Double(v[k]) }
      }
      try y.withUnsafeBufferPointer { y in
        guard let y = y.baseAddress else { return }
        try LinearAlgebra.dgemm(
          y, .plain, stride: count, source, .plain, stride: length, into: target, stride: length, m: kept, n: length,
          k: count)
      }
      for i in 0..<kept {
        let v = vector(i) + start
        for k in 0..<length { v[k] = Float(target[i * length + k]) }
      }
    }
  }
}
