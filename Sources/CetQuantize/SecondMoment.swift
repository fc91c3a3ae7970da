import CetTensor

/// Streaming mean and covariance of patches p (rows × K floats at a time).
///
/// Each run of `chunkRows` patches is centred by its own mean, multiplied in single precision (half the time
/// of double) and added in double by the pairwise update
///   M₂ ← M₂ + M₂' + d dᵀ · n n' / (n + n'),   d = mean' − mean   (Chan, Golub, LeVeque 1983),
/// whose second term is one more row of the product: a large mean costs no digits and the single precision error stays that of one short sum.
/// The result depends on the order of the patches alone, not on how they were cut into `add` calls.
public struct SecondMoment: Sendable {
  public let dimension: Int
  private var state: MomentState

  /// - Parameter arena: where memory comes from, and goes back to; nil: the heap.
  public init(dimension: Int, arena: Arena? = nil) throws(CetError) {
    guard dimension >= 1, [dimension, dimension].validatedCount != nil else {
      throw CetError(.invalidArgument, "a second moment needs a dimension of at least 1, got \(dimension)")
    }
    self.dimension = dimension
    state = try MomentState(left: dimension, right: dimension, symmetric: true, arena: arena)
  }

  /// Number of patches so far.
  public var count: Int { state.count + state.pendingRows }

  /// Adds `rows` patches of `dimension` floats, `stride` floats apart. Throws `.numeric` on NaN or infinity.
  public mutating func add(_ patches: UnsafePointer<Float>, rows: Int, stride: Int? = nil) throws(CetError) {
    try state.add(patches, stride ?? dimension, patches, stride ?? dimension, rows: rows)
  }

  public mutating func add(_ patches: [Float], rows: Int) throws(CetError) {
    guard patches.count == rows * dimension else {
      throw CetError(.shapeMismatch, "\(rows) patches of \(dimension) values got \(patches.count)")
    }
    try patches.withUnsafeBufferPointer { patches throws(CetError) in
      if let base = patches.baseAddress { try add(base, rows: rows) }
    }
  }

  /// Ends the run of patches that waits to be completed: merging then copies nothing.
  public mutating func flush() throws(CetError) { try state.flush() }

  /// Appends what another accumulator saw. Merge in a fixed order: the sums are not associative.
  public mutating func merge(_ other: SecondMoment) throws(CetError) {
    guard other.dimension == dimension else {
      throw CetError(.shapeMismatch, "cannot merge second moments of dimensions \(dimension) and \(other.dimension)")
    }
    try state.merge(other.state)
  }

  /// E[p]; zeros before the first patch.
  public func mean() throws(CetError) -> [Double] { try state.flushed().rightMean }

  /// Row-major K × K: E[(p−μ)(p−μ)ᵀ] when centred, E[p pᵀ] otherwise (divided by the count, not count − 1).
  /// - Parameter order: entry j of a patch stands in row and column `order[j]`; nil: as it is.
  public func covariance(
    centred: Bool = true, order: [Int]? = nil, workers: Workers = Workers(threads: 1)
  ) throws(CetError) -> [Double] {
    let order = order ?? Array(0..<dimension)
    return try state.flushed().covariance(centred: centred, rows: order, columns: order, workers)
  }

  /// Σ p, Σ p pᵀ is `count` times `mean`, `covariance(centred: false)`.
  public func diagonal(centred: Bool = true) throws(CetError) -> [Double] {
    let flushed = try state.flushed()
    return (0..<dimension).map { flushed.variance($0, centred: centred) }
  }
}

/// Streaming cross covariance of pairs (a, b), rows × A and rows × B floats at a time: Cov(a, b) is A × B.
/// The arithmetic is that of `SecondMoment`.
public struct CrossMoment: Sendable {
  private var state: MomentState

  /// - Parameters:
  ///   - needsLeftVariance: whether `leftVariance` will be asked for.
  ///   - arena: where memory comes from, and goes back to; nil: the heap.
  public init(left: Int, right: Int, needsLeftVariance: Bool = false, arena: Arena? = nil) throws(CetError) {
    guard left >= 1, right >= 1, [left, right].validatedCount != nil else {
      throw CetError(.invalidArgument, "a cross moment needs dimensions of at least 1, got \(left) and \(right)")
    }
    state = try MomentState(left: left, right: right, symmetric: false, hasLeftSquares: needsLeftVariance, arena: arena)
  }

  public var count: Int { state.count + state.pendingRows }

  public mutating func add(
    _ a: UnsafePointer<Float>, leftStride: Int? = nil, _ b: UnsafePointer<Float>, rightStride: Int? = nil, rows: Int
  ) throws(CetError) {
    try state.add(a, leftStride ?? state.left, b, rightStride ?? state.right, rows: rows)
  }

  public mutating func add(_ a: [Float], _ b: [Float], rows: Int) throws(CetError) {
    guard a.count == rows * state.left, b.count == rows * state.right else {
      throw CetError(
        .shapeMismatch,
        "\(rows) pairs of \(state.left) and \(state.right) values got \(a.count) and \(b.count)")
    }
    try a.withUnsafeBufferPointer { a throws(CetError) in
      try b.withUnsafeBufferPointer { b throws(CetError) in
        if let a = a.baseAddress, let b = b.baseAddress { try add(a, b, rows: rows) }
      }
    }
  }

  /// See `SecondMoment.flush`.
  public mutating func flush() throws(CetError) { try state.flush() }

  public mutating func merge(_ other: CrossMoment) throws(CetError) {
    guard other.state.left == state.left, other.state.right == state.right else {
      throw CetError(.shapeMismatch, "cannot merge cross moments of different dimensions")
    }
    try state.merge(other.state)
  }

  public func leftMean() throws(CetError) -> [Double] { try state.flushed().leftMean }
  public func rightMean() throws(CetError) -> [Double] { try state.flushed().rightMean }

  /// The variance of every entry of a; empty unless it was to be taken.
  public func leftVariance() throws(CetError) -> [Double] {
    let flushed = try state.flushed()
    return flushed.leftSquares.map { $0 / Double(max(flushed.count, 1)) }
  }

  /// Row-major A × B: E[(a−E a)(b−E b)ᵀ] when centred, E[a bᵀ] otherwise.
  /// - Parameters:
  ///   - rows: entry i of a stands in row `rows[i]`; nil: as it is.
  ///   - columns: entry j of b stands in column `columns[j]`.
  public func covariance(
    centred: Bool = true, rows: [Int]? = nil, columns: [Int]? = nil, workers: Workers = Workers(threads: 1)
  ) throws(CetError) -> [Double] {
    try state.flushed().covariance(
      centred: centred, rows: rows ?? Array(0..<state.left), columns: columns ?? Array(0..<state.right), workers)
  }
}
