import CetTensor

public enum Which: String, Sendable, CaseIterable {
  case largestMagnitude = "largest-magnitude"
  case largest
  case smallest
}

public struct EigensolveOptions: Sendable {
  public var count = 10
  public var which = Which.largestMagnitude
  /// Basis vectors kept; nil: chosen by the solver.
  public var krylovDimension: Int?
  public var maxApplies: Int?
  /// Of the residual norm, relative to the pair's |eigenvalue|.
  public var tolerance = 1e-3
  public var seed: UInt64 = 0
  /// nil: random.
  public var start: [Float]?
  /// Whether pairs that missed the tolerance are an error.
  public var requireConvergence = false
  public var threads = Workers.processorCount

  public init() {}
}

/// Eigenpairs with how good they are.
public struct Spectrum: Sendable {
  public var which: Which
  public var dimension: Int
  public var values: [Double]
  /// Unit vectors, one a pair.
  public var vectors: [[Float]]
  /// ||A x - lambda x||.
  public var residualNorms: [Double]
  public var converged: [Bool]
  public var applies: Int
  public var restarts: Int
  public var krylovDimension: Int
  public var tolerance: Double

  public init(
    which: Which, dimension: Int, values: [Double], vectors: [[Float]], residualNorms: [Double], converged: [Bool],
    applies: Int, restarts: Int, krylovDimension: Int, tolerance: Double
  ) {
    self.which = which
    self.dimension = dimension
    self.values = values
    self.vectors = vectors
    self.residualNorms = residualNorms
    self.converged = converged
    self.applies = applies
    self.restarts = restarts
    self.krylovDimension = krylovDimension
    self.tolerance = tolerance
  }
}

/// Eigenpairs of the symmetric map that `apply` computes: result = A v, `dimension` elements each.
public func eigensolve(
  dimension: Int, _ options: EigensolveOptions, _ monitor: Monitor,
  apply: (_ v: UnsafePointer<Float>, _ result: UnsafeMutablePointer<Float>) throws -> Void
) throws -> Spectrum {
  throw CetError(.internal, "this build has no eigensolver")
}
