/// Which end of the spectrum is wanted.
public enum SpectrumPart: Sendable, Hashable {
  /// Largest |λ| first: the stiff directions.
  case largestMagnitude
  /// Largest λ first.
  case largest
  /// Smallest λ first: the most negative directions.
  case smallest

  /// Whether a comes before b.
  func precedes(_ a: Double, _ b: Double) -> Bool {
    switch self {
    case .largestMagnitude: abs(a) > abs(b)
    case .largest: a > b
    case .smallest: a < b
    }
  }
}

/// Eigenvalues and unit eigenvectors of a symmetric map, in the wanted order, and how good they are.
public struct Eigenpairs: Sendable {
  public var dimension: Int
  /// Rayleigh quotients vᵀHv of the returned vectors.
  public var values: [Double]
  /// Vector i is `vectors[i · dimension ..< (i + 1) · dimension]`.
  public var vectors: [Float]
  /// ‖Hv − λv‖ of each pair, from one more application of the map to the returned vector; some true
  /// eigenvalue lies within it of λ.
  public var residualNorms: [Double]
  /// ‖Hv − λv‖ ≤ max(tolerance · |λ|, round-off): see `EigensolveOptions.tolerance`.
  public var converged: [Bool]
  /// Applications of the map, those of the residuals included.
  public var applies: Int
  public var restarts: Int
  /// All Ritz values of the last basis, ascending: a coarse picture of the rest of the spectrum.
  public var ritzValues: [Double]

  public init(
    dimension: Int, values: [Double], vectors: [Float], residualNorms: [Double], converged: [Bool], applies: Int = 0,
    restarts: Int = 0, ritzValues: [Double] = []
  ) {
    self.dimension = dimension
    self.values = values
    self.vectors = vectors
    self.residualNorms = residualNorms
    self.converged = converged
    self.applies = applies
    self.restarts = restarts
    self.ritzValues = ritzValues
  }

  public var count: Int { values.count }
  public var convergedCount: Int { converged.reduce(0) { $0 + ($1 ? 1 : 0) } }

  public func vector(_ index: Int) -> ArraySlice<Float> { vectors[(index * dimension)..<((index + 1) * dimension)] }
}

public struct EigensolveOptions: Sendable {
  /// Pairs wanted; at most the dimension are returned.
  public var count: Int
  public var part: SpectrumPart
  /// Vectors of the Krylov basis, at least count + 2 (or the dimension); nil chooses max(2 count + 10, 20).
  /// Memory: one float per vector and parameter.
  public var basisDimension: Int?
  /// A pair is converged when ‖Hv − λv‖ ≤ tolerance · |λ|, or ≤ 2·10⁻⁶ of the largest Ritz value: below that
  /// single precision maps and vectors hold no information.
  public var tolerance: Double
  /// Applications of the map before the search gives up and returns what it has.
  public var maximumApplies: Int
  /// A Krylov space holds one vector of each eigenspace, so that copies of a repeated eigenvalue can be missed.
  /// With this, converged pairs count only after a basis grown from a new random direction has confirmed them:
  /// at most one more basis of applications.
  public var checksForRepeated: Bool
  /// Start vector and the vectors after a breakdown.
  public var seed: UInt64
  /// Start vector of `dimension` elements; nil, or one without a direction: random.
  public var start: [Float]?

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
