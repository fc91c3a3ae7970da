import CetTensor

public struct EigensolveSettings: Sendable {
  /// Pairs wanted; at most the dimension are returned.
  public var count: Int
  public var part: SpectrumPart
  /// Vectors of the Krylov basis, at least count + max(2, block) (or the dimension), rounded up to blocks; nil chooses
  /// max(2 count + 10, 20), or less when that does not fit into `maximumMemory`.
  public var basisDimension: Int?
  /// Vectors that the map is applied to at once.
  public var block: Int = 1
  public var basisType = BasisType.float32
  /// Folder for the basis as an unlinked memory-mapped file; nil: in memory.
  public var basisFolder: String?
  /// Bytes for the basis (unless it is in a file) and the blocks; nil: no limit. What the map needs is not counted.
  public var maximumMemory: Int?
  /// A pair is converged when ‖Hv − λv‖ ≤ tolerance · |λ|, or ≤ 2·10⁻⁶ of the largest Ritz value: below that
  /// single precision maps and vectors hold no information.
  public var tolerance: Double
  /// Applications of the map before the search gives up and returns what it has.
  public var maximumApplies: Int
  /// A Krylov space holds one block of vectors of each eigenspace, so that copies of a repeated eigenvalue can be
  /// missed. With this, converged pairs count only after a basis grown from a new random direction has confirmed them:
  /// at most one more basis of applications.
  public var checksForRepeated: Bool
  /// Start vectors and the vectors after a breakdown.
  public var seed: UInt64
  /// Start vector of `dimension` elements; nil, or one without a direction: random.
  public var start: [Float]?
  /// Vectors near the wanted ones: the start block is made of sums of them.
  public var initial: Eigenvectors?

  public init(
    count: Int, part: SpectrumPart = .largestMagnitude, basisDimension: Int? = nil, tolerance: Double = 1e-3,
    maximumApplies: Int = 1000, checksForRepeated: Bool = true, seed: UInt64 = 0
  ) {
    self.count = count
    self.part = part
    self.basisDimension = basisDimension
    self.tolerance = tolerance
    self.maximumApplies = maximumApplies
    self.checksForRepeated = checksForRepeated
    self.seed = seed
  }
}

/// Sizes of a solve, chosen before it starts.
public struct EigensolveSizes: Sendable, Equatable {
  public var wanted: Int
  public var block: Int
  /// Vectors of the Krylov basis.
  public var capacity: Int
  public var basisBytes: Int
  /// Beside the basis: a block of vectors and a block of products.
  public var workBytes: Int
  /// The projection and its eigenvectors, square matrices of `capacity`.
  public var projectionBytes: Int

  /// Checks the options for a map of dimension n. Throws `outOfMemory` with what is needed when `maximumMemory` cannot
  /// be kept.
  public init(dimension n: Int, _ options: EigensolveSettings) throws(CetError) {
    guard n >= 1 else { throw CetError(.invalidArgument, "the linear map has dimension \(n)") }
    guard options.count >= 1 else {
      throw CetError(.invalidArgument, "the number of eigenpairs must be at least 1, got \(options.count)")
    }
    guard options.tolerance >= 0, options.tolerance.isFinite else {
      throw CetError(.invalidArgument, "the tolerance must be a finite number of at least 0, got \(options.tolerance)")
    }
    guard options.maximumApplies >= 2 else {
      throw CetError(.invalidArgument, "the eigensolver needs at least 2 applications of the map, got \(options.maximumApplies)")
    }
    if let size = options.basisDimension, size < 1 {
      throw CetError(.invalidArgument, "the basis dimension must be at least 1, got \(size)")
    }
    guard options.block >= 1 else {
      throw CetError(.invalidArgument, "the block size must be at least 1, got \(options.block)")
    }
    if let initial = options.initial, initial.dimension != n {
      throw CetError(.invalidArgument, "the initial vectors have \(initial.dimension) elements, the map \(n)")
    }
    wanted = min(options.count, n)
    block = min(options.block, n, max(1, options.maximumApplies / 2))
    let (width, least) = (block, wanted + max(2, block))
    func rounded(_ size: Int) -> Int { min(n, (max(size, least) + width - 1) / width * width) }
    func bytes(_ capacity: Int) -> (basis: Int, work: Int, projection: Int)? {
      guard let basis = [n, min(capacity + width, n), options.basisType.byteCount].validatedCount,
        let work = [n, 2 * width, 4].validatedCount
      else { return nil }
      return (basis, work, EigensolveSizes.projectionBytes(capacity, options.basisType))
    }
    let asked = options.basisDimension ?? max(2 * min(wanted, 1 << 30) + 10, 20)
    capacity = rounded(asked)
    guard least <= LinearAlgebra.largestEigenproblem else {
      throw CetError(
        .outOfMemory,
        "\(wanted) eigenpairs need a projection of \(least) vectors, LAPACK takes at most \(LinearAlgebra.largestEigenproblem)")
    }
    capacity = min(capacity, LinearAlgebra.largestEigenproblem / width * width)
    guard var need = bytes(capacity) else {
      throw CetError(.outOfMemory, "a basis of \(capacity) vectors of \(n) elements is too large")
    }
    if let limit = options.maximumMemory {
      func total(_ need: (basis: Int, work: Int, projection: Int)) -> Int {
        need.work + need.projection + (options.basisFolder == nil ? need.basis : 0)
      }
      // The projection shrinks with the basis, so that the second time there is room for a little more.
      for _ in 0..<2 where options.basisDimension == nil && options.basisFolder == nil && total(need) > limit {
        guard capacity < n || capacity > least else { break }
        let vectors = (limit - need.work - need.projection) / (n * options.basisType.byteCount) - width
        capacity = rounded(vectors / width * width)
        need = bytes(capacity) ?? need
      }
      guard total(need) <= limit else {
        throw CetError(
          .outOfMemory,
          "\(wanted) eigenpairs of dimension \(n) need \(total(need)) bytes (a \(options.basisType.rawValue) basis of \(capacity) vectors, blocks of \(width)\(need.projection > 0 ? ", projections of \(need.projection) bytes" : "")), max_memory is \(limit)",
          bytesNeeded: total(need))
      }
    }
    basisBytes = need.basis
    workBytes = need.work
    projectionBytes = need.projection
  }

  /// The projection, a copy, its eigenvectors, LAPACK's two for work, the coordinates that stay; a rounded basis has as
  /// many again for its inner products. Less than a megabyte counts as nothing beside a basis.
  static func projectionBytes(_ capacity: Int, _ type: BasisType) -> Int {
    max(0, Int.saturatingProduct(capacity, capacity, type == .float32 ? 6 * 8 : 12 * 8) - 1 << 20)
  }
}

extension EigensolveSizes {
  /// Bytes with which few restarts are needed: a quarter more vectors than pairs, at least 5 more.
  public static func ampleBytes(dimension n: Int, _ options: EigensolveSettings) -> Int {
    let pairs = min(options.count, n)
    let vectors = Double(min(options.basisDimension ?? pairs + max(pairs / 4, 5), n) + options.block)
    let stored = options.basisFolder == nil ? vectors * Double(options.basisType.byteCount) : 0
    return Int(min(Double(n) * (stored + 8 * Double(options.block)), 1e18))
  }
}
