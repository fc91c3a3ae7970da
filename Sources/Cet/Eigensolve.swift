import CetSpectral
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

/// Eigenpairs of the symmetric map that `apply` computes: result = A v, `dimension` elements each. The map, and the
/// monitor's callbacks, are called on this thread.
public func eigensolve(
  dimension: Int, _ options: EigensolveOptions, _ monitor: Monitor,
  apply: (_ v: UnsafePointer<Float>, _ result: UnsafeMutablePointer<Float>) throws -> Void
) throws -> Spectrum {
  var settings = CetSpectral.EigensolveOptions(
    count: options.count, part: options.which.part, basisDimension: options.krylovDimension,
    tolerance: options.tolerance, seed: options.seed)
  settings.start = options.start
  settings.maximumApplies = options.maxApplies ?? settings.maximumApplies
  let limit = settings.maximumApplies
  let pairs = try withoutActuallyEscaping(apply) { apply in
    try CetSpectral.eigensolve(
      ClosureMap(dimension: dimension, body: apply), settings, workers: Workers(threads: options.threads)
    ) { applies, _ in try monitor.report(.eigensolve, min(applies, limit), of: limit) }
  }
  try monitor.report(.eigensolve, limit, of: limit)
  if options.requireConvergence, pairs.convergedCount < pairs.count {
    throw CetError(
      .notConverged,
      "\(pairs.convergedCount) of \(pairs.count) eigenpairs reached the tolerance \(options.tolerance) after \(pairs.applies) applies")
  }
  return Spectrum(
    which: options.which, dimension: dimension, values: pairs.values,
    vectors: (0..<pairs.count).map { Array(pairs.vector($0)) }, residualNorms: pairs.residualNorms,
    converged: pairs.converged, applies: pairs.applies, restarts: pairs.restarts,
    krylovDimension: pairs.ritzValues.count, tolerance: options.tolerance)
}

private struct ClosureMap: LinearMap {
  let dimension: Int
  let body: (UnsafePointer<Float>, UnsafeMutablePointer<Float>) throws -> Void

  func apply(_ v: UnsafePointer<Float>, _ result: UnsafeMutablePointer<Float>) throws { try body(v, result) }
}

extension Which {
  fileprivate var part: SpectrumPart {
    switch self {
    case .largestMagnitude: .largestMagnitude
    case .largest: .largest
    case .smallest: .smallest
    }
  }
}
