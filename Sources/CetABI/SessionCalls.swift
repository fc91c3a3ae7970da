import CCet
import Cet
import CetTensor

@implementation @_cdecl("cet_session_create")
public func cet_session_create(
  _ model: OpaquePointer?, _ calibration: OpaquePointer?, _ options: UnsafePointer<cet_plan_options>?,
  _ session: UnsafeMutablePointer<OpaquePointer?>?
) -> cet_status {
  boundary(making: session, "session") {
    let model = try Handle.get(model, as: ModelObject.self).model
    let data = try calibration.map { try Handle.get($0, as: CalibrationObject.self).calibration }
    let c = try SizedStruct.read(options, cet_plan_options(), "cet_plan_options")
    return SessionObject(try PlanningSession(model, data, PlanOptions(options, usual: .ratio(1)), target: c.targets.first))
  }
}

@implementation @_cdecl("cet_session_add_batch")
public func cet_session_add_batch(
  _ session: OpaquePointer?, _ inputs: UnsafePointer<cet_tensor>?, _ inputCount: Int, _ labels: UnsafePointer<cet_tensor>?
) -> cet_status {
  boundary {
    let session = try Handle.get(session, as: SessionObject.self).session
    try session.add(inputs: copied(inputs, inputCount), labels: labels.map { try copied($0.pointee, "labels") })
  }
}

@implementation @_cdecl("cet_session_pull_batches")
public func cet_session_pull_batches(
  _ session: OpaquePointer?, _ next: cet_batch_fn?, _ userData: UnsafeMutableRawPointer?
) -> cet_status {
  boundary {
    let session = try Handle.get(session, as: SessionObject.self).session
    let next = try required(next, "next")
    while true {
      var batch = cet_batch()
      let answer = next(&batch, userData)
      guard answer >= 0 else { throw CetError(.cancelled, "the batch callback returned \(answer)") }
      guard answer > 0 else { return }
      try session.add(inputs: copied(batch.inputs, batch.input_count), labels: batch.labels.map { try copied($0.pointee, "labels") })
    }
  }
}

@implementation @_cdecl("cet_session_sample_count")
public func cet_session_sample_count(_ session: OpaquePointer?) -> UInt64 {
  boundary(counting: { UInt64(clamping: try Handle.get(session, as: SessionObject.self).session.sampleCount) })
}

@implementation @_cdecl("cet_session_prepare")
public func cet_session_prepare(
  _ session: OpaquePointer?, _ progress: cet_progress_fn?, _ log: cet_log_fn?, _ userData: UnsafeMutableRawPointer?
) -> cet_status {
  boundary {
    let monitor = monitor(progress, log, userData)
    defer { monitor.flush() }
    _ = try Handle.get(session, as: SessionObject.self).session.table(monitor)
  }
}

@implementation @_cdecl("cet_session_plan")
public func cet_session_plan(
  _ session: OpaquePointer?, _ options: UnsafePointer<cet_plan_options>?, _ plan: UnsafeMutablePointer<OpaquePointer?>?
) -> cet_status {
  boundary(making: plan, "plan") {
    let session = try Handle.get(session, as: SessionObject.self).session
    let c = try SizedStruct.read(options, cet_plan_options(), "cet_plan_options")
    // What is wrong with them is said before anything is measured.
    _ = try PlanOptions(options)
    let monitor = try monitor(c.progress, c.log, c.user_data, executor: c.executor)
    defer { monitor.flush() }
    return try PlanObject(session.plan(PlanOptions(options, sensitivityOf: session.table(monitor)), monitor))
  }
}

@implementation @_cdecl("cet_session_quantize")
public func cet_session_quantize(
  _ session: OpaquePointer?, _ plan: OpaquePointer?, _ options: UnsafePointer<cet_quantize_options>?,
  _ quantized: UnsafeMutablePointer<OpaquePointer?>?
) -> cet_status {
  boundary(making: quantized, "quantized") {
    let session = try Handle.get(session, as: SessionObject.self).session
    let plan = try Handle.get(plan, as: PlanObject.self).plan
    let c = try SizedStruct.read(options, cet_quantize_options(), "cet_quantize_options")
    let monitor = try monitor(c.progress, c.log, c.user_data, executor: c.executor)
    defer { monitor.flush() }
    return QuantizedObject(try session.quantize(plan, QuantizeOptions(c), monitor))
  }
}

@implementation @_cdecl("cet_session_save")
public func cet_session_save(_ session: OpaquePointer?, _ path: UnsafePointer<CChar>?) -> cet_status {
  boundary {
    let session = try Handle.get(session, as: SessionObject.self).session
    let path = try text(path, "path")
    let monitor = ThreadProgress.monitor
    // What a host calls while the table is made is no part of this call's file.
    _ = try session.table(monitor)
    try ThreadProgress.watching { try session.save(path: path, monitor) }
  }
}

@implementation @_cdecl("cet_session_keep")
public func cet_session_keep(_ session: OpaquePointer?, _ path: UnsafePointer<CChar>?) -> cet_status {
  boundary {
    let session = try Handle.get(session, as: SessionObject.self).session
    session.keep(path: try path.map { try text($0, "path") })
  }
}

@implementation @_cdecl("cet_session_check")
public func cet_session_check(
  _ session: OpaquePointer?, _ calibration: OpaquePointer?, _ options: UnsafePointer<cet_plan_options>?
) -> cet_status {
  boundary {
    try Handle.get(session, as: SessionObject.self).session.check(
      Handle.get(calibration, as: CalibrationObject.self).calibration, PlanOptions(options, usual: .ratio(1)))
  }
}

@implementation @_cdecl("cet_session_load")
public func cet_session_load(
  _ model: OpaquePointer?, _ path: UnsafePointer<CChar>?, _ session: UnsafeMutablePointer<OpaquePointer?>?
) -> cet_status {
  boundary(making: session, "session") {
    let model = try Handle.get(model, as: ModelObject.self).model
    return SessionObject(try ThreadProgress.watching { try PlanningSession(model, path: text(path, "path")) })
  }
}
