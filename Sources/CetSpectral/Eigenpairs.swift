/// Which end of the spectrum is wanted.
public enum SpectrumPart: String, Sendable, CaseIterable {
  /// Largest |λ| first: the stiff directions.
  case largestMagnitude = "largest-magnitude"
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
  public var vectors: Eigenvectors
  /// ‖Hv − λv‖ of each pair, from one more application of the map to the returned vector; some true
  /// eigenvalue lies within it of λ.
  public var residualNorms: [Double]
  /// ‖Hv − λv‖ ≤ max(tolerance · |λ|, round-off): see `EigensolveSettings.tolerance`.
  public var converged: [Bool]
  /// Applications of the map, those of the residuals included.
  public var applies: Int
  public var restarts: Int
  /// Vectors of the last basis.
  public var krylovDimension: Int

  public init(
    dimension: Int, values: [Double], vectors: Eigenvectors, residualNorms: [Double], converged: [Bool], applies: Int = 0,
    restarts: Int = 0, krylovDimension: Int = 0
  ) {
    self.dimension = dimension
    self.values = values
    self.vectors = vectors
    self.residualNorms = residualNorms
    self.converged = converged
    self.applies = applies
    self.restarts = restarts
    self.krylovDimension = krylovDimension
  }

  public var count: Int { values.count }
  public var convergedCount: Int { converged.reduce(0) { $0 + ($1 ? 1 : 0) } }
}
