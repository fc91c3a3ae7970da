import CCet
import Cet
import CetTensor

@implementation @_cdecl("cet_eigensolve")
public func cet_eigensolve(
  _ apply: cet_apply_fn?, _ applyData: UnsafeMutableRawPointer?, _ n: Int,
  _ options: UnsafePointer<cet_eigensolve_options>?, _ spectrum: UnsafeMutablePointer<OpaquePointer?>?
) -> cet_status {
  boundary(making: spectrum, "spectrum") {
    let apply = try required(apply, "apply")
    return try solve(dimension: n, options) { v, result in
      guard apply(v, result, n, applyData) == 0 else {
        throw CetError(.cancelled, "cancelled by the apply callback")
      }
      try checkFinite(UnsafePointer(result), n, "the result of the apply callback")
    }
  }
}

@implementation @_cdecl("cet_eigensolve_curvature")
public func cet_eigensolve_curvature(
  _ curvature: OpaquePointer?, _ options: UnsafePointer<cet_eigensolve_options>?,
  _ spectrum: UnsafeMutablePointer<OpaquePointer?>?
) -> cet_status {
  boundary(making: spectrum, "spectrum") {
    let curvature = try Handle.get(curvature, as: CurvatureObject.self).curvature
    return try curvature.together {
      try solve(dimension: curvature.dimension, options) { try curvature.apply($0, $1) }
    }
  }
}

private func solve(
  dimension: Int, _ pointer: UnsafePointer<cet_eigensolve_options>?,
  apply: (UnsafePointer<Float>, UnsafeMutablePointer<Float>) throws -> Void
) throws -> SpectrumObject {
  let c = try SizedStruct.read(pointer, cet_eigensolve_options(), "cet_eigensolve_options")
  guard dimension > 0, dimension <= 1 << 40 else {
    throw invalid("dimension \(UInt(bitPattern: dimension)): expected 1 to \(1 << 40)")
  }
  var options = EigensolveOptions()
  options.count = try optional(c.count, "count") ?? min(options.count, dimension)
  guard options.count <= dimension else {
    throw invalid("option count: \(options.count) eigenpairs of a map of dimension \(dimension)")
  }
  options.which = try which(c.which) ?? options.which
  options.krylovDimension = try optional(c.krylov_dimension, "krylov_dimension")
  if let krylov = options.krylovDimension, krylov < options.count {
    throw invalid("option krylov_dimension: \(krylov) is less than count, \(options.count)")
  }
  options.maxApplies = try optional(c.max_applies, "max_applies")
  guard c.tolerance >= 0, c.tolerance < 1 else {
    throw invalid("option tolerance: expected 0 or a number below 1, got \(c.tolerance)")
  }
  if c.tolerance > 0 { options.tolerance = c.tolerance }
  options.seed = c.seed
  if let start = c.start {
    try checkFinite(start, dimension, "option start")
    options.start = Array(UnsafeBufferPointer(start: start, count: dimension))
  }
  options.requireConvergence = c.require_convergence != 0
  options.threads = threads(c.threads)
  guard options.threads <= 1024 else { throw invalid("option threads: expected at most 1024, got \(c.threads)") }
  guard c.reserved == 0 else { throw invalid("cet_eigensolve_options: reserved is \(c.reserved), expected 0") }
  let monitor = monitor(c.progress, c.log, c.user_data)
  defer { monitor.flush() }
  return SpectrumObject(try eigensolve(dimension: dimension, options, monitor, apply: apply))
}

@implementation @_cdecl("cet_spectrum_get_info")
public func cet_spectrum_get_info(
  _ spectrum: OpaquePointer?, _ info: UnsafeMutablePointer<cet_spectrum_info>?
) -> cet_status {
  boundary {
    let spectrum = try Handle.get(spectrum, as: SpectrumObject.self).spectrum
    var c = cet_spectrum_info()
    c.which = spectrum.which.number
    c.count = UInt64(spectrum.values.count)
    c.dimension = UInt64(clamping: spectrum.dimension)
    c.converged_count = UInt64(spectrum.converged.filter { $0 }.count)
    c.applies = UInt64(clamping: spectrum.applies)
    c.restarts = UInt64(clamping: spectrum.restarts)
    c.krylov_dimension = UInt64(clamping: spectrum.krylovDimension)
    c.tolerance = spectrum.tolerance
    try SizedStruct.write(c, to: info, "cet_spectrum_info")
  }
}

@implementation @_cdecl("cet_spectrum_count")
public func cet_spectrum_count(_ spectrum: OpaquePointer?) -> Int {
  boundary(counting: { try Handle.get(spectrum, as: SpectrumObject.self).spectrum.values.count })
}

@implementation @_cdecl("cet_spectrum_get_values")
public func cet_spectrum_get_values(
  _ spectrum: OpaquePointer?, _ values: UnsafeMutablePointer<Double>?, _ count: Int
) -> cet_status {
  boundary { try copyOut(Handle.get(spectrum, as: SpectrumObject.self).spectrum.values, values, count, "values") }
}

@implementation @_cdecl("cet_spectrum_get_residual_norms")
public func cet_spectrum_get_residual_norms(
  _ spectrum: OpaquePointer?, _ norms: UnsafeMutablePointer<Double>?, _ count: Int
) -> cet_status {
  boundary { try copyOut(Handle.get(spectrum, as: SpectrumObject.self).spectrum.residualNorms, norms, count, "norms") }
}

@implementation @_cdecl("cet_spectrum_get_converged")
public func cet_spectrum_get_converged(
  _ spectrum: OpaquePointer?, _ converged: UnsafeMutablePointer<UInt8>?, _ count: Int
) -> cet_status {
  boundary {
    let flags = try Handle.get(spectrum, as: SpectrumObject.self).spectrum.converged.map { $0 ? UInt8(1) : 0 }
    try copyOut(flags, converged, count, "converged")
  }
}

@implementation @_cdecl("cet_spectrum_get_vector")
public func cet_spectrum_get_vector(
  _ spectrum: OpaquePointer?, _ index: Int, _ vector: UnsafeMutablePointer<Float>?, _ n: Int
) -> cet_status {
  boundary {
    let vectors = try Handle.get(spectrum, as: SpectrumObject.self).spectrum.vectors
    try copyOut(element(vectors, index, "eigenpair"), vector, n, "vector")
  }
}

private func copyOut<Value>(
  _ values: [Value], _ target: UnsafeMutablePointer<Value>?, _ count: Int, _ name: StaticString
) throws {
  try checkCount(count, values.count, name)
  guard count > 0 else { return }
  try required(target, name).update(from: values, count: count)
}
