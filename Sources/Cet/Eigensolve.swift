import CetFormats
import CetSpectral
import CetTensor

public typealias LinearMap = CetSpectral.LinearMap
public typealias BasisType = CetSpectral.BasisType
public typealias Eigenvectors = CetSpectral.Eigenvectors
public typealias Which = CetSpectral.SpectrumPart

public struct EigensolveOptions: Sendable {
  public var count = 10
  public var which = Which.largestMagnitude
  /// Basis vectors kept; nil: chosen by the solver.
  public var krylovDimension: Int?
  public var maxApplies: Int?
  /// Of the residual norm, relative to the pair's |eigenvalue|; nil: 1e-3, with a bfloat16 basis 1e-2.
  public var tolerance: Double?
  public var seed: UInt64 = 0
  /// nil: random.
  public var start: [Float]?
  /// Whether pairs that missed the tolerance are an error.
  public var requireConvergence = false
  public var threads = Workers.processorCount
  /// Vectors that the map is applied to at once.
  public var blockSize = 1
  /// nil: float32, or bfloat16 where `maxMemory` is too small for that.
  public var basisType: BasisType?
  /// Folder for the basis as a memory-mapped file; nil: in memory.
  public var basisPath: String?
  /// Bytes for basis and blocks; nil: 60 % of what is available.
  public var maxMemory: Int?
  /// Bytes for these and for what a curvature holds, in place of `maxMemory`.
  public var totalMaxMemory: Int?
  /// A spectrum of the same parameters to start from.
  public var initial: Spectrum?
  /// File for the state after every restart, from which an interrupted solve goes on.
  public var statePath: String?
  /// The host's name for its map: spectra and states of other maps are refused.
  public var fingerprint: String?

  public init() {}
}

extension EigensolveOptions {
  fileprivate var settings: EigensolveSettings {
    var settings = EigensolveSettings(
      count: count, part: which, basisDimension: krylovDimension, seed: seed)
    settings.start = start
    settings.maximumApplies = maxApplies ?? settings.maximumApplies
    settings.block = blockSize
    settings.basisType = basisType ?? .float32
    settings.basisFolder = basisPath
    return settings
  }

  /// Bytes with which a solve for a map of dimension n needs few restarts.
  public func ampleBytes(dimension n: Int) -> Int { EigensolveSizes.ampleBytes(dimension: n, settings) }
}

/// Eigenpairs, and what was asked of which map.
public struct Spectrum: Sendable {
  public var pairs: Eigenpairs
  public var which: Which
  public var tolerance: Double
  /// What map it belongs to.
  public var fingerprint: Fingerprint
}

/// Eigenpairs of a symmetric map. The map, and the monitor's callbacks, are called on this thread.
///
/// - Parameter identity: what the map is, for the spectrum and the state file.
public func eigensolve(
  _ map: some LinearMap, _ options: EigensolveOptions, _ monitor: Monitor, identity: Fingerprint = Fingerprint()
) throws(CetError) -> Spectrum {
  var identity = identity
  if let name = options.fingerprint { identity.fields.insert(.init("fingerprint", name), at: 0) }
  var settings = options.settings
  settings.maximumMemory = memoryLimit(options.maxMemory)
  if options.basisType == nil {
    do {
      _ = try EigensolveSizes(dimension: map.dimension, settings)
    } catch {
      guard error.code == .outOfMemory else { throw error }
      settings.basisType = .bfloat16
      monitor.log(.info, "basis: bfloat16, because \(error.message)")
    }
  }
  let tolerance = options.tolerance ?? (settings.basisType == .float32 ? 1e-3 : 1e-2)
  settings.tolerance = tolerance
  if let initial = options.initial {
    guard initial.pairs.dimension == map.dimension else {
      throw CetError(
        .invalidArgument, "option initial: a spectrum of dimension \(initial.pairs.dimension), the map has \(map.dimension)")
    }
    if let difference = initial.fingerprint.difference(from: identity, names: ["fingerprint", "parameters"]) {
      throw CetError(.invalidArgument, "option initial: a spectrum of another map: \(difference)")
    }
    settings.initial = initial.pairs.vectors
  }
  let limit = settings.maximumApplies
  let state = try options.statePath.map { path throws(CetError) in
    EigensolveStateFile(
      path: path, identity: try stateIdentity(map.dimension, settings, identity), dimension: map.dimension,
      type: settings.basisType)
  }
  let pairs = try CetSpectral.eigensolve(
    map, settings, workers: monitor.workers(options.threads),
    checkpoint: try state?.checkpoint()
  ) { applies, _ throws(CetError) in try monitor.report(.eigensolve, min(applies, limit), of: limit) }
  state?.remove()
  try monitor.report(.eigensolve, limit, of: limit)
  if options.requireConvergence, pairs.convergedCount < pairs.count {
    throw CetError(
      .notConverged,
      "\(pairs.convergedCount) of \(pairs.count) eigenpairs reached the tolerance \(tolerance) after \(pairs.applies) applies")
  }
  return Spectrum(pairs: pairs, which: options.which, tolerance: tolerance, fingerprint: identity)
}

/// All that the rest of a solve depends on besides its state.
private func stateIdentity(
  _ dimension: Int, _ settings: EigensolveSettings, _ map: Fingerprint
) throws(CetError) -> Fingerprint {
  let sizes = try EigensolveSizes(dimension: dimension, settings)
  var begin = Checksum()
  settings.start?.withUnsafeBytes { begin.update($0) }
  if let initial = settings.initial {
    for index in 0..<initial.count { initial.eachPiece(of: index) { begin.update($0) } }
  }
  return Fingerprint(
    map.fields + [
      .init("dimension", "\(dimension)"), .init("count", "\(sizes.wanted)"), .init("which", "\(settings.part)"),
      .init("krylov_dimension", "\(sizes.capacity)"), .init("block_size", "\(sizes.block)"),
      .init("basis_type", settings.basisType.rawValue), .init("tolerance", "\(settings.tolerance)"),
      .init("max_applies", "\(settings.maximumApplies)"), .init("seed", "\(settings.seed)"),
      .init("start", Checksum.hexadecimal(begin.value)),
    ])
}

/// A symmetric map that a function computes.
public struct ClosureMap: LinearMap {
  public let dimension: Int
  /// result = A v for `count` vectors of `dimension` elements, one after another.
  private let body: (_ v: UnsafePointer<Float>, _ count: Int, _ result: UnsafeMutablePointer<Float>) throws(CetError) -> Void

  public init(
    dimension: Int, body: @escaping (UnsafePointer<Float>, Int, UnsafeMutablePointer<Float>) throws(CetError) -> Void
  ) {
    self.dimension = dimension
    self.body = body
  }

  public func apply(_ v: UnsafePointer<Float>, _ result: UnsafeMutablePointer<Float>) throws(CetError) { try body(v, 1, result) }

  public func apply(_ v: UnsafePointer<Float>, count: Int, _ result: UnsafeMutablePointer<Float>) throws(CetError) {
    try body(v, count, result)
  }
}
