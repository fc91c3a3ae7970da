import CetTensor

/// H V = V C + Q R: a basis V, the projection T = Vᵀ H V, and the next block Q of directions with its coupling R.
///
/// Every new block is orthogonalised against the whole basis, and T holds the inner products of what is stored with
/// the products of the map, so that a restart needs no special shape of T (thick restart: Wu, Simon 2000) and
/// rounding of the stored vectors does not enter it.
struct LanczosFactorization {
  let basis: Basis
  let capacity: Int
  let block: Int
  private(set) var size = 0
  /// Vectors of the next block; they live in the basis at rows `size` and on.
  private(set) var pending = 0
  /// T, row-major with rows of `capacity`.
  private(set) var projection: [Double]
  /// Vᵀ V, row-major with rows of `capacity`; for a rounded basis only.
  private(set) var gram: [Double]
  /// R, rank × columns: the parts of the last products that lie along the next block.
  private var coupling: [Double] = []
  private var couplingColumns = 0
  private(set) var applies = 0
  private(set) var random: Random
  /// A block of vectors and a block of products.
  private let work: Storage

  var n: Int { basis.n }
  var input: UnsafeMutablePointer<Float> { work.pointer.assumingMemoryBound(to: Float.self) }
  var output: UnsafeMutablePointer<Float> { input + block * n }

  /// - Parameter start: writes start vectors into the block it is given and returns how many; the others are random.
  init(
    dimension n: Int, capacity: Int, block: Int = 1, type: BasisType = .float32, folder: String? = nil, seed: UInt64,
    workers: Workers, start: ((UnsafeMutablePointer<Float>, Int) throws(CetError) -> Int)? = nil
  ) throws(CetError) {
    self.block = block
    self.capacity = capacity
    basis = try Basis(n: n, rows: min(capacity + block, n), type: type, folder: folder, workers: workers)
    projection = [Double](repeating: 0, count: capacity * capacity)
    gram = [Double](repeating: 0, count: type == .float32 ? 0 : capacity * capacity)
    random = Random(seed: seed)
    guard let bytes = [2 * block, n, 4].validatedCount else {
      throw CetError(.outOfMemory, "two blocks of \(block) vectors of \(n) floats are too large")
    }
    work = try Storage(byteCount: bytes)
    let given = try start?(output, block) ?? 0
    try append(columns: given)
  }

  /// A factorization as it was after a restart.
  init(
    dimension n: Int, capacity: Int, block: Int, type: BasisType, folder: String?, workers: Workers,
    restored: EigensolveState, fill: (UnsafeMutableRawBufferPointer) throws(CetError) -> Void
  ) throws(CetError) {
    self.block = block
    self.capacity = capacity
    basis = try Basis(n: n, rows: min(capacity + block, n), type: type, folder: folder, workers: workers)
    projection = restored.projection
    gram = restored.gram
    size = restored.size
    pending = restored.pending
    applies = restored.applies
    random = restored.random
    work = try Storage(byteCount: 2 * block * n * 4)
    for panel in 0..<basis.panels { try fill(basis.bytes(panel, rows: size + pending)) }
  }

  /// What a later run needs to go on from here, after a restart.
  func state(restarts: Int, checked: [Double]?) -> EigensolveState {
    EigensolveState(
      projection: projection, gram: gram, size: size, pending: pending, applies: applies, restarts: restarts,
      checked: checked, random: random, basis: basis)
  }

  /// One block of applications; extends V and T by it.
  mutating func extend(_ map: some LinearMap) throws(CetError) {
    let p = pending
    for c in 0..<p { try basis.load(size + c, into: input + c * n) }
    try apply(map, count: p)
    let first = size
    size += p
    pending = 0
    let products = try basis.pass(output, columns: p, count: size)
    for c in 0..<p {
      for i in 0..<size {
        projection[i * capacity + first + c] = products.withBasis[i * p + c]
        projection[(first + c) * capacity + i] = products.withBasis[i * p + c]
      }
    }
    // Within the block both triangles were measured.
    for c in 0..<p {
      for d in 0..<c {
        let mean = (products.withBasis[(first + c) * p + d] + products.withBasis[(first + d) * p + c]) / 2
        projection[(first + c) * capacity + first + d] = mean
        projection[(first + d) * capacity + first + c] = mean
      }
    }
    if !gram.isEmpty {
      let own = try basis.pass(input, columns: p, count: size).withBasis
      for c in 0..<p {
        for i in 0..<size {
          gram[i * capacity + first + c] = own[i * p + c]
          gram[(first + c) * capacity + i] = own[i * p + c]
        }
      }
    }
    coupling = []
    couplingColumns = p
    guard size < n else { return }  // V spans everything
    let (rank, r) = try orthogonalize(columns: p, measured: products)
    coupling = r
    try append(columns: rank, orthonormal: true)
  }

  /// output = H input, counted and checked.
  mutating func apply(_ map: some LinearMap, count: Int) throws(CetError) {
    try map.apply(input, count: count, output)
    for c in 0..<count {
      applies += 1
      guard try basis.norm(output + c * n).isFinite else {
        throw CetError(.numeric, "the linear map returned a value that is not finite (apply \(applies))")
      }
    }
  }

  /// ‖H x − θ x‖ of the Ritz vector with these coordinates, as far as the next block knows: ‖R y_last‖.
  func residual(_ y: ArraySlice<Double>) -> Double {
    let last = Array(y.suffix(couplingColumns))
    var squares = 0.0
    for row in 0..<(couplingColumns > 0 ? coupling.count / couplingColumns : 0) {
      var sum = 0.0
      for c in 0..<couplingColumns { sum += coupling[row * couplingColumns + c] * last[c] }
      squares += sum * sum
    }
    return squares.squareRoot()
  }

  /// Ritz values, ascending, and their coordinates in V (pair i is row i).
  func ritzPairs() throws(CetError) -> (values: [Double], coordinates: [Double]) {
    let m = size
    let t = (0..<(m * m)).map { projection[$0 / m * capacity + $0 % m] }
    let (values, vectors) =
      gram.isEmpty
      ? try LinearAlgebra.symmetricEigen(t, n: m)
      : try generalizedEigen(t, (0..<(m * m)).map { gram[$0 / m * capacity + $0 % m] }, m)
    return (values, vectors)
  }

  /// Replaces V by the given Ritz vectors. The next block stays, or is random: then the invariant subspaces that V
  /// has missed get a part in it (copies of a repeated eigenvalue, above all).
  mutating func restart(values: [Double], coordinates: [Double], randomDirections: Bool = false) throws(CetError) {
    let kept = values.count
    let rounding = try basis.rotate(coordinates, kept: kept, count: size)
    try basis.move(size, to: kept, count: pending)
    for i in projection.indices { projection[i] = 0 }
    for i in gram.indices { gram[i] = 0 }
    for i in 0..<kept {
      projection[i * capacity + i] = values[i]
      guard !gram.isEmpty else { continue }
      for j in 0..<kept {
        // Stored is u + e with Hu = θu up to the next block; what e does to T in second order is below its rounding.
        let (ij, ji) = (rounding.cross[i * kept + j], rounding.cross[j * kept + i])
        projection[i * capacity + j] = (i == j ? values[i] : 0) + values[i] * ij + values[j] * ji
        gram[i * capacity + j] = (i == j ? 1 : 0) + ij + ji + rounding.square[i * kept + j]
      }
    }
    size = kept
    coupling = []
    couplingColumns = 0
    if randomDirections { pending = 0 }
    // At the end of a space of n dimensions the block was narrower.
    try append(columns: 0)
  }

  // MARK: The next block

  /// Stores the first `columns` vectors of the output, and random ones until the block is full: at the start, and
  /// where the Krylov space ends early.
  private mutating func append(columns: Int, orthonormal: Bool = false) throws(CetError) {
    let target = min(block, n - size)
    var ready = columns
    if !orthonormal, columns > 0 {
      ready = try orthogonalize(columns: columns, measured: basis.pass(output, columns: columns, count: size)).rank
    }
    for c in 0..<min(ready, target) {
      try basis.store(output + c * n, at: size + c)
      pending += 1
    }
    while pending < target {
      var found = 0
      for _ in 0..<5 where found == 0 {
        for i in 0..<n { output[i] = Float(random.normal()) }
        let products = try basis.pass(output, columns: 1, count: size + pending)
        found = try orthogonalize(columns: 1, against: size + pending, measured: products).rank
      }
      guard found == 1 else {
        throw CetError(.numeric, "no direction is left outside \(size + pending) of \(n) basis vectors: they are not independent")
      }
      try basis.store(output, at: size + pending)
      pending += 1
    }
  }

  /// Makes the output's columns orthonormal and orthogonal to the basis by block Gram–Schmidt with a Cholesky factor
  /// inside the block, repeated until no column loses more than half of its norm ("twice is enough" unless it lies
  /// almost in the span). Columns of which nothing but round-off is left are dropped.
  /// - Returns: how many columns there are, and R (rank × columns): output before = V C + output after · R.
  private mutating func orthogonalize(
    columns: Int, against count: Int? = nil, measured: Basis.Products
  ) throws(CetError) -> (rank: Int, r: [Double]) {
    let count = count ?? size
    let whole = (0..<columns).map { measured.gram[$0 * columns + $0].squareRoot() }
    var products = measured
    var kept = Array(0..<columns)  // original index of every column that is left
    var r = (0..<(columns * columns)).map { $0 / columns == $0 % columns ? 1.0 : 0.0 }  // kept × columns
    for pass in 0..<6 {
      let m = kept.count
      guard m > 0 else { break }
      // The second pass is nearly always the last: what is left along the basis is measured when it is needed.
      products = try basis.pass(output, columns: m, count: count, subtract: products.withBasis, measure: pass == 0)
      let before = pass == 0 ? kept.map { whole[$0] } : [Double](repeating: 1, count: m)
      let (factor, alive, lost) = BlockFactor.factor(
        products.gram, m, before: before, floor: kept.indices.map {
          // In units of what the block holds now.
          1e-14 * whole[kept[$0]] / max(abs(r[$0 * columns + kept[$0]]), .leastNormalMagnitude)
        })
      // r ← factorᵀ r over the columns that live.
      var next = [Double](repeating: 0, count: alive.count * columns)
      for (row, c) in alive.enumerated() {
        for d in 0..<m {
          for k in 0..<columns { next[row * columns + k] += factor.upper[c * m + d] * r[d * columns + k] }
        }
      }
      r = next
      let transform = factor.inverse
      if pass == 0 { products.withBasis = BlockFactor.transform(products.withBasis, rows: count, m, transform, alive) }
      _ = try basis.pass(output, columns: m, count: 0, combine: transform)
      if alive.count < m {
        for (target, source) in alive.enumerated() where target != source {
          (output + target * n).update(from: output + source * n, count: n)
        }
      }
      kept = alive.map { kept[$0] }
      if pass > 0 {
        guard lost else { return (kept.count, r) }
        products = try basis.pass(output, columns: kept.count, count: count)
      }
    }
    return (0, [])
  }
}
