import CetTensor

/// Where a solve stands after a restart: with the basis all that the rest of it depends on.
public struct EigensolveState: @unchecked Sendable {
  public var projection: [Double]
  public var gram: [Double]
  public var size: Int
  public var pending: Int
  public var applies: Int
  public var restarts: Int
  /// Values that a basis from a new random direction is about to confirm.
  public var checked: [Double]?
  public var random: Random
  /// nil in a state that was read: its vectors come through `EigensolveCheckpoint.fill`.
  let basis: Basis?

  public init(
    projection: [Double], gram: [Double], size: Int, pending: Int, applies: Int, restarts: Int, checked: [Double]?,
    random: Random
  ) {
    self.init(
      projection: projection, gram: gram, size: size, pending: pending, applies: applies, restarts: restarts,
      checked: checked, random: random, basis: nil)
  }

  init(
    projection: [Double], gram: [Double], size: Int, pending: Int, applies: Int, restarts: Int, checked: [Double]?,
    random: Random, basis: Basis?
  ) {
    self.projection = projection
    self.gram = gram
    self.size = size
    self.pending = pending
    self.applies = applies
    self.restarts = restarts
    self.checked = checked
    self.random = random
    self.basis = basis
  }

  /// The stored bytes of the vectors, piece by piece; a run that goes on asks `fill` for pieces of the same sizes.
  public func eachPiece<Failure>(_ body: (UnsafeRawBufferPointer) throws(Failure) -> Void) throws(Failure) {
    guard let basis else { return }
    for panel in 0..<basis.panels { try body(UnsafeRawBufferPointer(basis.bytes(panel, rows: size + pending))) }
  }

  /// Whether the numbers can belong to a solve of these sizes.
  func fits(_ sizes: EigensolveSizes, dimension n: Int, type: BasisType) -> Bool {
    let square = sizes.capacity * sizes.capacity
    return projection.count == square && gram.count == (type == .float32 ? 0 : square)
      && size >= 0 && size < sizes.capacity && pending == min(sizes.block, n - size) && applies >= 0 && restarts >= 0
      && checked.map { $0.count == min(sizes.wanted, $0.count) } ?? true
  }
}

/// Saving and going on, which the eigensolver leaves to its caller.
public struct EigensolveCheckpoint {
  /// A state to go on from.
  public var resume: EigensolveState?
  /// Fills one piece of the state's vectors; called in the order of `EigensolveState.eachPiece`.
  public var fill: (UnsafeMutableRawBufferPointer) throws(CetError) -> Void
  /// Called after every restart.
  public var save: (EigensolveState) throws(CetError) -> Void

  public init(
    resume: EigensolveState?, fill: @escaping (UnsafeMutableRawBufferPointer) throws(CetError) -> Void,
    save: @escaping (EigensolveState) throws(CetError) -> Void
  ) {
    self.resume = resume
    self.fill = fill
    self.save = save
  }
}
