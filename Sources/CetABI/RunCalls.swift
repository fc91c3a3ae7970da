import CCet
import Cet
import CetTensor

@implementation @_cdecl("cet_run")
public func cet_run(
  _ model: OpaquePointer?, _ inputs: UnsafePointer<cet_tensor>?, _ inputCount: Int,
  _ options: UnsafePointer<cet_run_options>?, _ outputs: UnsafeMutablePointer<OpaquePointer?>?
) -> cet_status {
  boundary(making: outputs, "outputs") {
    try OutputsObject(run(Handle.get(model, as: ModelObject.self).model, inputs, inputCount, options))
  }
}

/// Outputs of a run on a caller's arrays.
func run(
  _ model: LoadedModel, _ inputs: UnsafePointer<cet_tensor>?, _ inputCount: Int, _ options: UnsafePointer<cet_run_options>?
) throws(CetError) -> [(name: String, tensor: Tensor)] {
  let c = try SizedStruct.read(options, cet_run_options(), "cet_run_options")
  let known = model.requiredInputs + model.overridableInputs
  let arrays = try copied(inputs, inputCount).map { input throws(CetError) in
    (input.name, try widened(input.tensor, for: known.first { $0.name == input.name }))
  }
  try checkRunInputs(model.requiredInputs, optional: model.overridableInputs, arrays)
  guard c.batch_size == 0, c.reserved == 0 else { throw invalid("cet_run_options: batch_size is for cet_run_samples") }
  let (options, host) = try RunOptions.read(c)
  defer { host.flush() }
  return try runModel(model, inputs: arrays, options, host)
}

@implementation @_cdecl("cet_run_samples")
public func cet_run_samples(
  _ model: OpaquePointer?, _ calibration: OpaquePointer?, _ batch: Int, _ first: UInt64,
  _ options: UnsafePointer<cet_run_options>?, _ count: UnsafeMutablePointer<UInt64>?,
  _ outputs: UnsafeMutablePointer<OpaquePointer?>?
) -> cet_status {
  boundary {
    let outputs = try required(outputs, "outputs")
    outputs.pointee = nil
    let count = try required(count, "count")
    count.pointee = 0
    let model = try Handle.get(model, as: ModelObject.self).model
    let data = try Handle.get(calibration, as: CalibrationObject.self).fitted(to: model.requiredInputs)
    let c = try SizedStruct.read(options, cet_run_options(), "cet_run_options")
    guard c.reserved == 0 else { throw invalid("cet_run_options: reserved is \(c.reserved), expected 0") }
    let batch = try element(data.batches, batch, "batch")
    guard first < batch.sampleCount else { return }
    let (options, host) = try RunOptions.read(c)
    defer { host.flush() }
    guard let made = try runSamples(model, batch, first: Int(first), batchSize: optional(c.batch_size, "batch_size"), options, host)
    else { return }
    outputs.pointee = try Handle.make(OutputsObject(made.outputs))
    count.pointee = UInt64(made.count)
  }
}

extension RunOptions {
  fileprivate static func read(_ c: cet_run_options) throws(CetError) -> (options: RunOptions, host: Monitor) {
    let options = RunOptions(threads: try checkedThreads(c.threads), maxMemory: try optional(c.max_memory, "max_memory"))
    return (options, monitor(c.progress, c.log, c.user_data))
  }
}

@implementation @_cdecl("cet_outputs_count")
public func cet_outputs_count(_ outputs: OpaquePointer?) -> Int {
  boundary(counting: { try Handle.get(outputs, as: OutputsObject.self).tensors.count })
}

@implementation @_cdecl("cet_outputs_get")
public func cet_outputs_get(
  _ outputs: OpaquePointer?, _ index: Int, _ tensor: UnsafeMutablePointer<cet_tensor>?
) -> cet_status {
  boundary {
    let tensors = try Handle.get(outputs, as: OutputsObject.self).tensors
    try required(tensor, "tensor").pointee = element(tensors, index, "output")
  }
}

@implementation @_cdecl("cet_outputs_find")
public func cet_outputs_find(
  _ outputs: OpaquePointer?, _ name: UnsafePointer<CChar>?, _ index: UnsafeMutablePointer<Int>?
) -> cet_status {
  boundary {
    let outputs = try Handle.get(outputs, as: OutputsObject.self).outputs
    let name = try text(name, "name")
    let index = try required(index, "index")
    guard let found = outputs.firstIndex(where: { $0.name == name }) else {
      throw invalid("the model has no output '\(name)'")
    }
    index.pointee = found
  }
}
