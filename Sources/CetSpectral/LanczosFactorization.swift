import CetTensor

/// H V = V T + β v_next e_lastᵀ: an orthonormal basis V, the projection T = Vᵀ H V and the next direction.
///
/// Every new vector is orthogonalised against the whole basis, and all of its coefficients go into T, so that a
/// restart needs no special shape of T (thick restart: Wu, Simon 2000).
struct LanczosFactorization {
  let basis: Basis
  let capacity: Int
  private(set) var size = 0
  /// T, row-major with rows of `capacity`.
  private var projection: [Double]
  /// Norm of the part of the last H v outside the basis; 0 after a breakdown.
  private(set) var beta = 0.0
  private(set) var applies = 0
  private var random: Random
  private let product: Storage

  /// The next direction lives in the basis at index `size`.
  init(dimension n: Int, capacity: Int, seed: UInt64, start: [Float]? = nil, workers: Workers) throws {
    basis = try Basis(n: n, capacity: capacity + 1, workers: workers)
    self.capacity = capacity
    projection = [Double](repeating: 0, count: capacity * capacity)
    random = Random(seed: seed)
    product = try Storage(byteCount: n * MemoryLayout<Float>.stride)
    if let start, start.count == n {
      start.withUnsafeBufferPointer { if let first = $0.baseAddress { basis.vector(0).update(from: first, count: n) } }
      let norm = try basis.norm(basis.vector(0))
      if norm > 0, norm.isFinite {
        try basis.scale(basis.vector(0), by: 1 / norm)
        return
      }
    }
    try newDirection()
  }

  /// One application of the map; extends V and T by one.
  mutating func extend(_ map: some LinearMap) throws {
    let v = basis.vector(size)
    let w = product.pointer.assumingMemoryBound(to: Float.self)
    try apply(map, v, w)
    let (h, norm) = try basis.orthogonalize(w, count: size + 1)
    for i in 0...size {
      projection[i * capacity + size] = h[i]
      projection[size * capacity + i] = h[i]
    }
    size += 1
    beta = norm
    guard size < basis.n else {  // V spans everything
      beta = 0
      return
    }
    if norm > 0 {
      basis.vector(size).update(from: w, count: basis.n)
      try basis.scale(basis.vector(size), by: 1 / norm)
    } else {
      try newDirection()
    }
  }

  /// result = H v, counted and checked.
  mutating func apply(_ map: some LinearMap, _ v: UnsafePointer<Float>, _ result: UnsafeMutablePointer<Float>) throws {
    try map.apply(v, result)
    applies += 1
    guard try basis.norm(result).isFinite else {
      throw CetError(.numeric, "the linear map returned a value that is not finite (apply \(applies))")
    }
  }

  /// Ritz values, ascending, and their coordinates in V (pair i is row i).
  func ritzPairs() throws -> (values: [Double], coordinates: [Double]) {
    let t = (0..<(size * size)).map { projection[$0 / size * capacity + $0 % size] }
    let (values, vectors) = try LinearAlgebra.symmetricEigen(t, n: size)
    return (values, vectors)
  }

  /// Replaces V by the given Ritz vectors. The next direction stays, or is a random one: then the invariant
  /// subspaces that V has missed get a part in it (copies of a repeated eigenvalue, above all).
  mutating func restart(values: [Double], coordinates: [Double], randomDirection: Bool = false) throws {
    let kept = values.count
    let next = basis.vector(size)
    try basis.rotate(coordinates, kept: kept, count: size)
    basis.vector(kept).update(from: next, count: basis.n)
    for i in 0..<(capacity * capacity) { projection[i] = 0 }
    for i in 0..<kept { projection[i * capacity + i] = values[i] }
    size = kept
    if randomDirection { try newDirection() }
  }

  /// A random direction orthogonal to V: at the start, and where the Krylov space ends early.
  private mutating func newDirection() throws {
    let v = basis.vector(size)
    for _ in 0..<5 {
      for i in 0..<basis.n { v[i] = Float(random.normal()) }
      let norm = try basis.orthogonalize(v, count: size).norm
      if norm > 0 {
        try basis.scale(v, by: 1 / norm)
        return
      }
    }
    throw CetError(.internal, "no direction is left outside \(size) of \(basis.n) basis vectors")
  }
}
