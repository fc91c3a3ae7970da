import CetSpectral
import CetTensor

public enum TraceMethod: String, Sendable, CaseIterable {
  case hutchinson
  case hutchPlusPlus = "hutch++"
}

public struct EstimateOptions: Sendable {
  /// Random vectors; nil: 32, for a density 8.
  public var samples: Int?
  /// Lanczos steps of a density; nil: 40.
  public var steps: Int?
  public var method = TraceMethod.hutchinson
  public var seed: UInt64 = 0
  public var threads = Workers.processorCount
  public var basisType = BasisType.float32
  /// Folder for a basis as a memory-mapped file; nil: in memory.
  public var basisPath: String?
  /// Bytes for a basis and work; nil: 60 % of what is available.
  public var maxMemory: Int?

  public init() {}

  public var densitySamples: Int { samples ?? 8 }
  public var densitySteps: Int { steps ?? 40 }

  fileprivate func probes(_ samples: Int) -> ProbeOptions {
    var result = ProbeOptions(samples: samples, steps: densitySteps, seed: seed)
    result.basisType = basisType
    result.basisFolder = basisPath
    result.maximumMemory = memoryLimit(maxMemory)
    return result
  }
}

public typealias SpectralDensity = CetSpectral.SpectralDensity

public func spectralDensity(
  _ map: some LinearMap, _ options: EstimateOptions, _ monitor: Monitor
) throws(CetError) -> SpectralDensity {
  let total = Int.saturatingProduct(options.densitySamples, min(options.densitySteps, map.dimension))
  let result = try estimateDensity(
    map, options.probes(options.densitySamples), workers: monitor.workers(options.threads)
  ) { done throws(CetError) in try monitor.report(.curvature, done, of: total) }
  try monitor.report(.curvature, total, of: total)
  return result
}

/// Throws where vectors of the map's dimension alone are more than there is.
private func reserve(_ map: some LinearMap, bytesPerElement width: Int) throws(CetError) {
  let need = Int.saturatingProduct(map.dimension, width)
  guard let available = SystemMemory.availableBytes, need > available else { return }
  throw CetError(.outOfMemory, "vectors of dimension \(map.dimension) need \(need) bytes, \(available) are available", bytesNeeded: need)
}

/// Trace and standard error.
public func traceEstimate(
  _ map: some LinearMap, _ options: EstimateOptions, _ monitor: Monitor
) throws(CetError) -> (trace: Double, standardError: Double) {
  let samples = options.samples ?? 32
  let progress = { (done: Int) throws(CetError) in try monitor.report(.curvature, done, of: samples) }
  switch options.method {
  case .hutchinson:
    try reserve(map, bytesPerElement: 8)
    let value = try estimateTrace(map, samples: samples, seed: options.seed, progress: progress).whole
    return (value.trace, value.standardError)
  case .hutchPlusPlus:
    let value = try estimateTraceDeflated(
      map, options.probes(samples), workers: monitor.workers(options.threads), progress: progress)
    return (value.trace, value.standardError)
  }
}

/// `dimension` elements each.
public func diagonalEstimate(
  _ map: some LinearMap, _ options: EstimateOptions, _ monitor: Monitor, diagonal: UnsafeMutablePointer<Float>,
  standardErrors: UnsafeMutablePointer<Float>?
) throws(CetError) {
  let samples = options.samples ?? 32
  try reserve(map, bytesPerElement: standardErrors == nil ? 16 : 24)
  try estimateDiagonal(
    map, samples: samples, seed: options.seed, diagonal: diagonal, standardErrors: standardErrors
  ) { done throws(CetError) in try monitor.report(.curvature, done, of: samples) }
}
