import CCet
import Cet
import CetTensor

extension EstimateOptions {
  fileprivate init(_ c: cet_estimate_options) throws(CetError) {
    self.init()
    samples = try optional(c.samples, "samples")
    steps = try optional(c.steps, "steps")
    method = try traceMethod(c.method) ?? method
    seed = c.seed
    threads = try checkedThreads(c.threads)
    basisType = try CetABI.basisType(c.basis_type) ?? basisType
    basisPath = try c.basis_path.map { chars throws(CetError) in try text(chars, "basis_path") }
    maxMemory = try optional(c.max_memory, "max_memory")
  }
}

/// Reads the options and calls `body` with a monitor that reports to the caller.
private func estimate<Result>(
  _ map: some LinearMap, _ pointer: UnsafePointer<cet_estimate_options>?, _ body: (EstimateOptions, Monitor) throws(CetError) -> Result
) throws(CetError) -> Result {
  let c = try SizedStruct.read(pointer, cet_estimate_options(), "cet_estimate_options")
  let monitor = try monitor(c.progress, c.log, c.user_data, executor: c.executor)
  defer { monitor.flush() }
  let options = try EstimateOptions(c)
  guard let curvature = map as? Curvature else { return try body(options, monitor) }
  return try curvature.attended(monitor) { () throws(CetError) in try body(options, monitor) }
}

// MARK: Trace

@implementation @_cdecl("cet_trace_estimate")
public func cet_trace_estimate(
  _ apply: cet_apply_fn?, _ applyData: UnsafeMutableRawPointer?, _ n: Int, _ options: UnsafePointer<cet_estimate_options>?,
  _ trace: UnsafeMutablePointer<Double>?, _ standardError: UnsafeMutablePointer<Double>?
) -> cet_status {
  boundary { try writeTrace(hostMap(apply, nil, applyData, n), options, trace, standardError) }
}

@implementation @_cdecl("cet_trace_estimate_curvature")
public func cet_trace_estimate_curvature(
  _ curvature: OpaquePointer?, _ options: UnsafePointer<cet_estimate_options>?, _ trace: UnsafeMutablePointer<Double>?,
  _ standardError: UnsafeMutablePointer<Double>?
) -> cet_status {
  boundary {
    let curvature = try Handle.get(curvature, as: CurvatureObject.self).curvature
    try curvature.together { () throws(CetError) in try writeTrace(curvature, options, trace, standardError) }
  }
}

private func writeTrace(
  _ map: some LinearMap, _ options: UnsafePointer<cet_estimate_options>?, _ trace: UnsafeMutablePointer<Double>?,
  _ standardError: UnsafeMutablePointer<Double>?
) throws(CetError) {
  let trace = try required(trace, "trace")
  let value = try estimate(map, options) { options, monitor throws(CetError) in try traceEstimate(map, options, monitor) }
  trace.pointee = value.trace
  standardError?.pointee = value.standardError
}

// MARK: Diagonal

@implementation @_cdecl("cet_diagonal_estimate")
public func cet_diagonal_estimate(
  _ apply: cet_apply_fn?, _ applyData: UnsafeMutableRawPointer?, _ n: Int, _ options: UnsafePointer<cet_estimate_options>?,
  _ diagonal: UnsafeMutablePointer<Float>?, _ standardErrors: UnsafeMutablePointer<Float>?
) -> cet_status {
  boundary { try writeDiagonal(hostMap(apply, nil, applyData, n), options, diagonal, standardErrors) }
}

@implementation @_cdecl("cet_diagonal_estimate_curvature")
public func cet_diagonal_estimate_curvature(
  _ curvature: OpaquePointer?, _ options: UnsafePointer<cet_estimate_options>?, _ diagonal: UnsafeMutablePointer<Float>?,
  _ standardErrors: UnsafeMutablePointer<Float>?, _ n: Int
) -> cet_status {
  boundary {
    let curvature = try Handle.get(curvature, as: CurvatureObject.self).curvature
    try curvature.together { () throws(CetError) in
      try checkCount(n, curvature.dimension, "n")
      try writeDiagonal(curvature, options, diagonal, standardErrors)
    }
  }
}

private func writeDiagonal(
  _ map: some LinearMap, _ options: UnsafePointer<cet_estimate_options>?, _ diagonal: UnsafeMutablePointer<Float>?,
  _ standardErrors: UnsafeMutablePointer<Float>?
) throws(CetError) {
  let diagonal = try required(diagonal, "diagonal")
  if let standardErrors {
    try checkDisjoint((UnsafePointer(diagonal), map.dimension, "diagonal"), (standardErrors, map.dimension, "standard_errors"))
  }
  try estimate(map, options) { options, monitor throws(CetError) in
    try diagonalEstimate(map, options, monitor, diagonal: diagonal, standardErrors: standardErrors)
  }
}

// MARK: Density

@implementation @_cdecl("cet_spectral_density")
public func cet_spectral_density(
  _ apply: cet_apply_fn?, _ applyData: UnsafeMutableRawPointer?, _ n: Int, _ options: UnsafePointer<cet_estimate_options>?,
  _ nodes: UnsafeMutablePointer<Double>?, _ weights: UnsafeMutablePointer<Double>?, _ count: Int
) -> cet_status {
  boundary { try writeDensity(hostMap(apply, nil, applyData, n), options, nodes, weights, count) }
}

@implementation @_cdecl("cet_spectral_density_curvature")
public func cet_spectral_density_curvature(
  _ curvature: OpaquePointer?, _ options: UnsafePointer<cet_estimate_options>?, _ nodes: UnsafeMutablePointer<Double>?,
  _ weights: UnsafeMutablePointer<Double>?, _ count: Int
) -> cet_status {
  boundary {
    let curvature = try Handle.get(curvature, as: CurvatureObject.self).curvature
    try curvature.together { () throws(CetError) in try writeDensity(curvature, options, nodes, weights, count) }
  }
}

private func writeDensity(
  _ map: some LinearMap, _ options: UnsafePointer<cet_estimate_options>?, _ nodes: UnsafeMutablePointer<Double>?,
  _ weights: UnsafeMutablePointer<Double>?, _ count: Int
) throws(CetError) {
  let nodes = try required(nodes, "nodes")
  let weights = try required(weights, "weights")
  try estimate(map, options) { options, monitor throws(CetError) in
    let steps = options.densitySteps
    try checkCount(count, .saturatingProduct(options.densitySamples, steps), "count")
    try checkDisjoint((UnsafePointer(nodes), count, "nodes"), (weights, count, "weights"))
    let density = try spectralDensity(map, options, monitor)
    for (probe, (values, shares)) in zip(density.nodes, density.weights).enumerated() {
      for k in 0..<steps {
        nodes[probe * steps + k] = k < values.count ? values[k] : values.last ?? 0
        weights[probe * steps + k] = k < shares.count ? shares[k] : 0
      }
    }
  }
}

@implementation @_cdecl("cet_spectral_density_evaluate")
public func cet_spectral_density_evaluate(
  _ nodes: UnsafePointer<Double>?, _ weights: UnsafePointer<Double>?, _ samples: Int, _ steps: Int, _ width: Double,
  _ points: UnsafePointer<Double>?, _ density: UnsafeMutablePointer<Double>?,
  _ standardErrors: UnsafeMutablePointer<Double>?, _ count: Int
) -> cet_status {
  boundary {
    let nodes = try required(nodes, "nodes")
    let weights = try required(weights, "weights")
    guard samples >= 1, steps >= 1, samples <= 1 << 30, steps <= 1 << 30 else {
      throw invalid("\(UInt(bitPattern: samples)) samples of \(UInt(bitPattern: steps)) steps: expected at least 1")
    }
    guard width > 0, width.isFinite else { throw invalid("argument 'width': expected a positive number, got \(width)") }
    guard count > 0 else { return }
    let points = try required(points, "points")
    let density = try required(density, "density")
    try checkDisjoint((points, count, "points"), (density, count, "density"))
    if let standardErrors {
      try checkDisjoint((points, count, "points"), (standardErrors, count, "standard_errors"))
      try checkDisjoint((UnsafePointer(density), count, "density"), (standardErrors, count, "standard_errors"))
    }
    func rows(_ values: UnsafePointer<Double>) -> [[Double]] {
      (0..<samples).map { Array(UnsafeBufferPointer(start: values + $0 * steps, count: steps)) }
    }
    let whole = SpectralDensity(dimension: 0, nodes: rows(nodes), weights: rows(weights), applies: 0)
    for i in 0..<count {
      let value = whole.value(at: points[i], width: width)
      density[i] = value.density
      standardErrors?[i] = value.standardError
    }
  }
}
