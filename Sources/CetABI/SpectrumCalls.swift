import CCet
import Cet
import CetTensor

@implementation @_cdecl("cet_eigensolve")
public func cet_eigensolve(
  _ apply: cet_apply_fn?, _ applyData: UnsafeMutableRawPointer?, _ n: Int,
  _ options: UnsafePointer<cet_eigensolve_options>?, _ spectrum: UnsafeMutablePointer<OpaquePointer?>?
) -> cet_status {
  boundary(making: spectrum, "spectrum") {
    let c = try SizedStruct.read(options, cet_eigensolve_options(), "cet_eigensolve_options")
    let map = try hostMap(apply, c.apply_block, applyData, n)
    guard c.total_max_memory == 0 else { throw invalid("option total_max_memory: a callback's own memory is not known") }
    return try solve(map, EigensolveOptions(c, dimension: n), try monitor(c.progress, c.log, c.user_data, executor: c.executor))
  }
}

@implementation @_cdecl("cet_eigensolve_curvature")
public func cet_eigensolve_curvature(
  _ curvature: OpaquePointer?, _ options: UnsafePointer<cet_eigensolve_options>?,
  _ spectrum: UnsafeMutablePointer<OpaquePointer?>?
) -> cet_status {
  boundary(making: spectrum, "spectrum") {
    let curvature = try Handle.get(curvature, as: CurvatureObject.self).curvature
    return try curvature.together { () throws(CetError) in
      var (c, options) = try curvature.communicator.agree {
        let c = try SizedStruct.read(options, cet_eigensolve_options(), "cet_eigensolve_options")
        guard c.apply_block == nil else { throw invalid("option apply_block: a curvature brings its own") }
        return (c, try EigensolveOptions(c, dimension: curvature.dimension))
      }
      options.maxMemory = try curvature.memory(for: options)
      let host = try monitor(c.progress, c.log, c.user_data, executor: c.executor)
      return try curvature.attended(host) { [options] () throws(CetError) in
        try solve(curvature, options, host, identity: curvature.fingerprint)
      }
    }
  }
}

/// The map that a host's callbacks compute.
func hostMap(
  _ apply: cet_apply_fn?, _ block: cet_apply_block_fn?, _ data: UnsafeMutableRawPointer?, _ n: Int
) throws(CetError) -> ClosureMap {
  let apply = try required(apply, "apply")
  guard n > 0, n <= 1 << 40 else { throw invalid("dimension \(UInt(bitPattern: n)): expected 1 to \(1 << 40)") }
  return ClosureMap(dimension: n) { v, count, result throws(CetError) in
    if let block, count > 1 {
      guard block(v, result, n, count, data) == 0 else {
        throw CetError(.cancelled, "cancelled by the apply callback")
      }
    } else {
      for i in 0..<count {
        guard apply(v + i * n, result + i * n, n, data) == 0 else {
          throw CetError(.cancelled, "cancelled by the apply callback")
        }
      }
    }
    for i in 0..<count { try checkFinite(UnsafePointer(result + i * n), n, "the result of the apply callback") }
  }
}

extension EigensolveOptions {
  fileprivate init(_ c: cet_eigensolve_options, dimension: Int) throws(CetError) {
    self.init()
    count = try optional(c.count, "count") ?? min(count, dimension)
    guard count <= dimension else {
      throw invalid("option count: \(count) eigenpairs of a map of dimension \(dimension)")
    }
    which = try CetABI.which(c.which) ?? which
    krylovDimension = try optional(c.krylov_dimension, "krylov_dimension")
    if let krylovDimension, krylovDimension < count {
      throw invalid("option krylov_dimension: \(krylovDimension) is less than count, \(count)")
    }
    maxApplies = try optional(c.max_applies, "max_applies")
    guard c.tolerance >= 0, c.tolerance < 1 else {
      throw CetError(.invalidArgument, "option tolerance", expected: "0 or a number below 1", got: "\(c.tolerance)")
    }
    if c.tolerance > 0 { tolerance = c.tolerance }
    seed = c.seed
    if let values = c.start {
      try checkFinite(values, dimension, "option start")
      start = Array(UnsafeBufferPointer(start: values, count: dimension))
    }
    requireConvergence = c.require_convergence != 0
    threads = try checkedThreads(c.threads)
    blockSize = try optional(c.block_size, "block_size") ?? 1
    basisType = try CetABI.basisType(c.basis_type)
    basisPath = try c.basis_path.map { chars throws(CetError) in try text(chars, "basis_path") }
    maxMemory = try optional(c.max_memory, "max_memory")
    totalMaxMemory = try optional(c.total_max_memory, "total_max_memory")
    guard maxMemory == nil || totalMaxMemory == nil else {
      throw invalid("options max_memory and total_max_memory: expected one of them")
    }
    if let pairs = c.initial { initial = try Handle.get(pairs, as: SpectrumObject.self).spectrum }
    statePath = try c.state_path.map { chars throws(CetError) in try text(chars, "state_path") }
    fingerprint = try c.fingerprint.map { chars throws(CetError) in try text(chars, "fingerprint") }
    guard c.reserved == 0 else { throw invalid("cet_eigensolve_options: reserved is \(c.reserved), expected 0") }
  }
}

private func solve(
  _ map: some LinearMap, _ options: EigensolveOptions, _ monitor: Monitor, identity: Fingerprint = Fingerprint()
) throws(CetError) -> SpectrumObject {
  defer { monitor.flush() }
  return SpectrumObject(try eigensolve(map, options, monitor, identity: identity))
}

@implementation @_cdecl("cet_spectrum_get_info")
public func cet_spectrum_get_info(
  _ spectrum: OpaquePointer?, _ info: UnsafeMutablePointer<cet_spectrum_info>?
) -> cet_status {
  boundary {
    let spectrum = try Handle.get(spectrum, as: SpectrumObject.self).spectrum
    let pairs = spectrum.pairs
    var c = cet_spectrum_info()
    c.which = spectrum.which.number
    c.count = UInt64(pairs.count)
    c.dimension = UInt64(clamping: pairs.dimension)
    c.converged_count = UInt64(pairs.convergedCount)
    c.applies = UInt64(clamping: pairs.applies)
    c.restarts = UInt64(clamping: pairs.restarts)
    c.krylov_dimension = UInt64(clamping: pairs.krylovDimension)
    c.tolerance = spectrum.tolerance
    try SizedStruct.write(c, to: info, "cet_spectrum_info")
  }
}

@implementation @_cdecl("cet_spectrum_count")
public func cet_spectrum_count(_ spectrum: OpaquePointer?) -> Int {
  boundary(counting: { try Handle.get(spectrum, as: SpectrumObject.self).spectrum.pairs.count })
}

@implementation @_cdecl("cet_spectrum_get_values")
public func cet_spectrum_get_values(
  _ spectrum: OpaquePointer?, _ values: UnsafeMutablePointer<Double>?, _ count: Int
) -> cet_status {
  boundary { try copyOut(Handle.get(spectrum, as: SpectrumObject.self).spectrum.pairs.values, values, count, "values") }
}

@implementation @_cdecl("cet_spectrum_get_residual_norms")
public func cet_spectrum_get_residual_norms(
  _ spectrum: OpaquePointer?, _ norms: UnsafeMutablePointer<Double>?, _ count: Int
) -> cet_status {
  boundary { try copyOut(Handle.get(spectrum, as: SpectrumObject.self).spectrum.pairs.residualNorms, norms, count, "norms") }
}

@implementation @_cdecl("cet_spectrum_get_converged")
public func cet_spectrum_get_converged(
  _ spectrum: OpaquePointer?, _ converged: UnsafeMutablePointer<UInt8>?, _ count: Int
) -> cet_status {
  boundary {
    let flags = try Handle.get(spectrum, as: SpectrumObject.self).spectrum.pairs.converged.map { $0 ? UInt8(1) : 0 }
    try copyOut(flags, converged, count, "converged")
  }
}

@implementation @_cdecl("cet_spectrum_get_vector")
public func cet_spectrum_get_vector(
  _ spectrum: OpaquePointer?, _ index: Int, _ vector: UnsafeMutablePointer<Float>?, _ n: Int
) -> cet_status {
  boundary {
    let vectors = try Handle.get(spectrum, as: SpectrumObject.self).spectrum.pairs.vectors
    guard index >= 0, index < vectors.count else {
      throw invalid("eigenpair \(UInt(bitPattern: index)) does not exist, there are \(vectors.count)")
    }
    try checkCount(n, vectors.dimension, "vector")
    vectors.copy(index, into: try required(vector, "vector"))
  }
}

@implementation @_cdecl("cet_spectrum_save_file")
public func cet_spectrum_save_file(_ spectrum: OpaquePointer?, _ path: UnsafePointer<CChar>?) -> cet_status {
  boundary {
    let spectrum = try Handle.get(spectrum, as: SpectrumObject.self).spectrum
    try ThreadProgress.watching { try spectrum.save(path: text(path, "path")) }
  }
}

@implementation @_cdecl("cet_spectrum_load_file")
public func cet_spectrum_load_file(
  _ path: UnsafePointer<CChar>?, _ spectrum: UnsafeMutablePointer<OpaquePointer?>?
) -> cet_status {
  boundary(making: spectrum, "spectrum") {
    SpectrumObject(try ThreadProgress.watching { try Spectrum(path: text(path, "path")) })
  }
}

@implementation @_cdecl("cet_spectrum_check_curvature")
public func cet_spectrum_check_curvature(_ spectrum: OpaquePointer?, _ curvature: OpaquePointer?) -> cet_status {
  boundary {
    let spectrum = try Handle.get(spectrum, as: SpectrumObject.self).spectrum
    let curvature = try Handle.get(curvature, as: CurvatureObject.self).curvature
    if let difference = spectrum.fingerprint.difference(from: curvature.fingerprint) {
      throw invalid("the spectrum is of another curvature: \(difference)")
    }
  }
}

private func copyOut<Value>(
  _ values: [Value], _ target: UnsafeMutablePointer<Value>?, _ count: Int, _ name: StaticString
) throws(CetError) {
  try checkCount(count, values.count, name)
  guard count > 0 else { return }
  try required(target, name).update(from: values, count: count)
}
