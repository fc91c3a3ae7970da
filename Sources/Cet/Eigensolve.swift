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

/// Eigenpairs of the symmetric map that `apply` computes: result = A v, `dimension` elements each. `apply` is called
/// on the calling thread.
public func eigensolve(
  dimension: Int, _ options: EigensolveOptions, _ monitor: Monitor,
  apply: (_ v: UnsafePointer<Float>, _ result: UnsafeMutablePointer<Float>) throws -> Void
) throws -> Spectrum {
  try withoutActuallyEscaping(apply) { apply in
    let part: SpectrumPart =
      switch options.which {
      case .largestMagnitude: .largestMagnitude
      case .largest: .largest
      case .smallest: .smallest
      }
    let wanted = max(1, min(options.count, max(dimension, 1)))
    let limit = options.maxApplies ?? 100 * (wanted + 10)
    let basis = options.krylovDimension ?? min(max(dimension, 1), max(2 * wanted + 10, 20))
    let found = try CetSpectral.eigensolve(
      ClosureMap(dimension: dimension, body: apply),
      CetSpectral.EigensolveOptions(
        count: options.count, part: part, basisDimension: basis, tolerance: options.tolerance, maximumApplies: limit,
        seed: options.seed, start: options.start),
      workers: Workers(threads: options.threads)
    ) { applies, _ in try monitor.report(.eigensolve, applies, of: limit) }
    if options.requireConvergence, found.convergedCount < found.count {
      throw CetError(
        .notConverged,
        "\(found.convergedCount) of \(found.count) eigenpairs reached tolerance \(options.tolerance) in \(found.applies) applications")
    }
    return Spectrum(
      which: options.which, dimension: dimension, values: found.values,
      vectors: (0..<found.count).map { Array(found.vector($0)) }, residualNorms: found.residualNorms,
      converged: found.converged, applies: found.applies, restarts: found.restarts, krylovDimension: basis,
      tolerance: options.tolerance)
  }
}

private struct ClosureMap: LinearMap {
  let dimension: Int
  let body: (UnsafePointer<Float>, UnsafeMutablePointer<Float>) throws -> Void

  func apply(_ v: UnsafePointer<Float>, _ result: UnsafeMutablePointer<Float>) throws { try body(v, result) }
}
