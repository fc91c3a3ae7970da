import CCet
import Cet
import CetTensor

@implementation @_cdecl("cet_curvature_create")
public func cet_curvature_create(
  _ model: OpaquePointer?, _ calibration: OpaquePointer?, _ options: UnsafePointer<cet_curvature_options>?,
  _ curvature: UnsafeMutablePointer<OpaquePointer?>?
) -> cet_status {
  boundary(making: curvature, "curvature") {
    // First of all: what is wrong with the rest is told to the other processes.
    let communicator = try communicator(options)
    let c = try communicator.agree { try SizedStruct.read(options, cet_curvature_options(), "cet_curvature_options") }
    let threads = try communicator.agree { try hostThreads(c.executor) }
    return try CurvatureObject(
      Curvature(communicator, host: { monitor(c.progress, c.log, c.user_data, threads: threads) }) {
        let model = try Handle.get(model, as: ModelObject.self).model
        let data = try Handle.get(calibration, as: CalibrationObject.self).calibration
        return (model, try data.fitted(to: model.requiredInputs, fixed: model.overridableInputs), try CurvatureOptions(options))
      })
  }
}

@implementation @_cdecl("cet_communicator_range")
public func cet_communicator_range(
  _ total: UInt64, _ batchSize: UInt64, _ size: UInt32, _ rank: UInt32, _ first: UnsafeMutablePointer<UInt64>?,
  _ count: UnsafeMutablePointer<UInt64>?
) -> cet_status {
  boundary {
    let first = try required(first, "first")
    let count = try required(count, "count")
    let range = try communicatorRange(
      total: CetABI.size(total, "total_samples"), batchSize: CetABI.size(batchSize, "batch_size"), size: Int(size),
      rank: Int(rank))
    first.pointee = UInt64(range.lowerBound)
    count.pointee = UInt64(range.count)
  }
}

@implementation @_cdecl("cet_curvature_dimension")
public func cet_curvature_dimension(_ curvature: OpaquePointer?) -> Int {
  boundary(counting: { try Handle.get(curvature, as: CurvatureObject.self).curvature.dimension })
}

@implementation @_cdecl("cet_curvature_apply")
public func cet_curvature_apply(
  _ curvature: OpaquePointer?, _ v: UnsafePointer<Float>?, _ hv: UnsafeMutablePointer<Float>?, _ n: Int
) -> cet_status {
  boundary { try apply(curvature, v, hv, n, 1) }
}

@implementation @_cdecl("cet_curvature_apply_block")
public func cet_curvature_apply_block(
  _ curvature: OpaquePointer?, _ v: UnsafePointer<Float>?, _ hv: UnsafeMutablePointer<Float>?, _ n: Int, _ count: Int
) -> cet_status {
  boundary { try apply(curvature, v, hv, n, count) }
}

private func apply(
  _ curvature: OpaquePointer?, _ v: UnsafePointer<Float>?, _ hv: UnsafeMutablePointer<Float>?, _ n: Int, _ count: Int
) throws(CetError) {
  let curvature = try Handle.get(curvature, as: CurvatureObject.self).curvature
  var product: UnsafePointer<Float>?
  try curvature.apply(count: count) {
    let v = try required(v, "v")
    let hv = try required(hv, "hv")
    try checkCount(n, curvature.dimension, "n")
    guard count >= 0, count <= Int.max / 4 / max(1, n) else { throw invalid("count: \(UInt(bitPattern: count)) vectors") }
    try checkDisjoint((v, n * count, "v"), (hv, n * count, "hv"))
    try checkFinite(v, n * count, "v")
    product = UnsafePointer(hv)
    return (v, hv)
  }
  if let product { try checkFinite(product, n * count, "the Hessian-vector product") }
}

/// Names the place, because such a value spreads everywhere in one step.
func checkFinite(_ values: UnsafePointer<Float>, _ count: Int, _ name: StaticString) throws(CetError) {
  if Reduction.isFinite(values, count: count) { return }
  for index in 0..<count where !values[index].isFinite {
    throw CetError(.numeric, "\(name) is NaN or infinite at element \(index)")
  }
}

@implementation @_cdecl("cet_curvature_gradient")
public func cet_curvature_gradient(
  _ curvature: OpaquePointer?, _ gradient: UnsafeMutablePointer<Float>?, _ n: Int
) -> cet_status {
  boundary {
    let curvature = try Handle.get(curvature, as: CurvatureObject.self).curvature
    try curvature.gradient {
      try checkCount(n, curvature.dimension, "n")
      return try required(gradient, "gradient")
    }
  }
}

@implementation @_cdecl("cet_curvature_loss")
public func cet_curvature_loss(_ curvature: OpaquePointer?, _ loss: UnsafeMutablePointer<Double>?) -> cet_status {
  boundary {
    let curvature = try Handle.get(curvature, as: CurvatureObject.self).curvature
    try curvature.loss { try required(loss, "loss") }
  }
}

@implementation @_cdecl("cet_curvature_get_info")
public func cet_curvature_get_info(
  _ curvature: OpaquePointer?, _ info: UnsafeMutablePointer<cet_curvature_info>?
) -> cet_status {
  boundary {
    let curvature = try Handle.get(curvature, as: CurvatureObject.self).curvature
    let memory = curvature.memory
    var c = cet_curvature_info()
    c.threads = UInt32(clamping: memory.workers)
    c.dimension = UInt64(clamping: curvature.dimension)
    c.samples = UInt64(clamping: curvature.sampleCount)
    c.batches = UInt64(clamping: curvature.batchCount)
    c.kept_batches = UInt64(clamping: memory.keptBatches)
    c.directions = UInt64(clamping: memory.directions)
    c.max_memory = UInt64(clamping: memory.limit)
    c.predicted_bytes = UInt64(clamping: memory.predicted)
    c.peak_bytes = UInt64(clamping: curvature.peakBytes)
    c.least_bytes = UInt64(clamping: memory.least)
    try SizedStruct.write(c, to: info, "cet_curvature_info")
  }
}

@implementation @_cdecl("cet_curvature_note_count")
public func cet_curvature_note_count(_ curvature: OpaquePointer?) -> Int {
  boundary(counting: { try Handle.get(curvature, as: CurvatureObject.self).notes.count })
}

@implementation @_cdecl("cet_curvature_get_note")
public func cet_curvature_get_note(
  _ curvature: OpaquePointer?, _ index: Int, _ note: UnsafeMutablePointer<UnsafePointer<CChar>?>?
) -> cet_status {
  boundary {
    let note = try required(note, "note")
    note.pointee = nil
    note.pointee = try element(Handle.get(curvature, as: CurvatureObject.self).notes, index, "note")
  }
}

@implementation @_cdecl("cet_curvature_parameter_count")
public func cet_curvature_parameter_count(_ curvature: OpaquePointer?) -> Int {
  boundary(counting: { try Handle.get(curvature, as: CurvatureObject.self).parameters.count })
}

@implementation @_cdecl("cet_curvature_get_parameter")
public func cet_curvature_get_parameter(
  _ curvature: OpaquePointer?, _ index: Int, _ info: UnsafeMutablePointer<cet_parameter_info>?
) -> cet_status {
  boundary {
    let parameters = try Handle.get(curvature, as: CurvatureObject.self).parameters
    try SizedStruct.write(element(parameters, index, "parameter"), to: info, "cet_parameter_info")
  }
}
