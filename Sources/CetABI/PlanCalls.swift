import CCet
import Cet
import CetTensor

@implementation @_cdecl("cet_plan")
public func cet_plan(
  _ model: OpaquePointer?, _ calibration: OpaquePointer?, _ options: UnsafePointer<cet_plan_options>?,
  _ plan: UnsafeMutablePointer<OpaquePointer?>?
) -> cet_status {
  boundary(making: plan, "plan") {
    let model = try Handle.get(model, as: ModelObject.self).model
    let data = try Handle.get(calibration, as: CalibrationObject.self).calibration
    let asked = try PlanOptions(options)
    let c = try SizedStruct.read(options, cet_plan_options(), "cet_plan_options")
    let monitor = try monitor(c.progress, c.log, c.user_data, executor: c.executor)
    defer { monitor.flush() }
    return try PlanObject(makePlan(model, data.fitted(to: model.requiredInputs, fixed: model.overridableInputs), asked, monitor))
  }
}

@implementation @_cdecl("cet_plan_with_sensitivity")
public func cet_plan_with_sensitivity(
  _ model: OpaquePointer?, _ source: OpaquePointer?, _ options: UnsafePointer<cet_plan_options>?,
  _ plan: UnsafeMutablePointer<OpaquePointer?>?
) -> cet_status {
  boundary(making: plan, "plan") {
    let model = try Handle.get(model, as: ModelObject.self).model
    let source = try Handle.get(source, as: PlanObject.self).plan
    return try PlanObject(
      makePlan(model, sensitivityOf: source, PlanOptions(options, sensitivityOf: source)))
  }
}

@implementation @_cdecl("cet_plan_tensor_count")
public func cet_plan_tensor_count(_ plan: OpaquePointer?) -> Int {
  boundary(counting: { try Handle.get(plan, as: PlanObject.self).tensors.count })
}

@implementation @_cdecl("cet_plan_get_tensor")
public func cet_plan_get_tensor(
  _ plan: OpaquePointer?, _ index: Int, _ info: UnsafeMutablePointer<cet_plan_tensor>?
) -> cet_status {
  boundary {
    let tensors = try Handle.get(plan, as: PlanObject.self).tensors
    try SizedStruct.write(element(tensors, index, "tensor"), to: info, "cet_plan_tensor")
  }
}

@implementation @_cdecl("cet_plan_find_tensor")
public func cet_plan_find_tensor(
  _ plan: OpaquePointer?, _ name: UnsafePointer<CChar>?, _ index: UnsafeMutablePointer<Int>?
) -> cet_status {
  boundary {
    let plan = try Handle.get(plan, as: PlanObject.self).plan
    let name = try text(name, "name")
    let index = try required(index, "index")
    guard let found = plan.index(of: name) else { throw invalid("the plan has no tensor '\(name)'") }
    index.pointee = found
  }
}

@implementation @_cdecl("cet_plan_get_summary")
public func cet_plan_get_summary(
  _ plan: OpaquePointer?, _ summary: UnsafeMutablePointer<cet_plan_summary>?
) -> cet_status {
  boundary {
    let object = try Handle.get(plan, as: PlanObject.self)
    try SizedStruct.write(object.summary, to: summary, "cet_plan_summary")
  }
}

@implementation @_cdecl("cet_plan_note_count")
public func cet_plan_note_count(_ plan: OpaquePointer?) -> Int {
  boundary(counting: { try Handle.get(plan, as: PlanObject.self).notes.count })
}

@implementation @_cdecl("cet_plan_get_note")
public func cet_plan_get_note(
  _ plan: OpaquePointer?, _ index: Int, _ note: UnsafeMutablePointer<UnsafePointer<CChar>?>?
) -> cet_status {
  boundary {
    let note = try required(note, "note")
    note.pointee = nil
    note.pointee = try element(Handle.get(plan, as: PlanObject.self).notes, index, "note")
  }
}

@implementation @_cdecl("cet_plan_to_json")
public func cet_plan_to_json(
  _ plan: OpaquePointer?, _ json: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?
) -> cet_status {
  boundary {
    let json = try required(json, "json")
    json.pointee = nil
    json.pointee = try copyForCaller(Handle.get(plan, as: PlanObject.self).plan.jsonText())
  }
}

@implementation @_cdecl("cet_plan_from_json")
public func cet_plan_from_json(
  _ json: UnsafePointer<CChar>?, _ plan: UnsafeMutablePointer<OpaquePointer?>?
) -> cet_status {
  boundary(making: plan, "plan") {
    try PlanObject(ThreadProgress.watching { try CompressionPlan(jsonText: text(json, "json")) })
  }
}

extension cet_plan_tensor {
  init(_ tensor: PlannedTensor, _ memory: BorrowedMemory) throws(CetError) {
    self.init()
    let borrowed = try BorrowedShape(tensor.name, tensor.shape, memory)
    rank = borrowed.rank
    name = borrowed.name
    shape = borrowed.shape
    parameter_count = UInt64(tensor.count)
    bits = Int32(tensor.bits)
    decision = tensor.decision.number
    axis = tensor.isPlanned ? tensor.axis.map(Int32.init) ?? -1 : -1
    block_size = UInt32(clamping: tensor.blockSize)
    reason = try memory.string(tensor.reason)
    predicted_loss_change = tensor.predictedLossChange ?? .nan
    loss_per_byte = tensor.lossPerByte ?? .nan
    code_bytes = UInt64(tensor.codeBytes)
    stored_bytes = UInt64(tensor.storedBytes)
    cet_plan_tensor.fill(&measured_loss, tensor.measuredLoss)
    cet_plan_tensor.fill(&curvature_loss, tensor.curvatureLoss)
    cet_plan_tensor.fill(&sensitivity, tensor.sensitivity)
    coding = tensor.isPlanned ? tensor.coding.number : Int32(CET_CODING_DEFAULT)
    node = UnsafePointer(try memory.string(tensor.node))
    operator_type = UnsafePointer(try memory.string(tensor.operatorType))
    trellis_bits = tensor.codings.reduce(0) { $1.value == .trellis ? $0 | 1 << UInt32($1.key) : $0 }
  }

  private static func fill<Row>(_ row: inout Row, _ table: [Int: Double]) {
    withUnsafeMutableBytes(of: &row) { bytes in
      let values = bytes.bindMemory(to: Double.self)
      for bits in values.indices { values[bits] = table[bits] ?? .nan }
    }
  }
}

extension cet_plan_summary {
  init(_ plan: CompressionPlan, _ memory: BorrowedMemory) throws(CetError) {
    self.init()
    block_size = UInt32(clamping: plan.options.granularity.blockSize)
    method = plan.options.method.number
    loss = plan.loss.number
    curvature = plan.options.curvature.number
    rounding = plan.options.rounding.number
    granularity = plan.options.granularity.number
    encoding = plan.options.encoding.number
    ratio = plan.ratio
    mean_bits = plan.meanBits
    parameter_count = UInt64(clamping: plan.parameterCount)
    code_bytes = UInt64(clamping: plan.codeBytes)
    stored_bytes = UInt64(clamping: plan.storedBytes)
    file_bytes = UInt64(plan.fileBytes)
    model_bytes = UInt64(plan.modelBytes)
    predicted_loss_change = plan.prediction?.loss ?? .nan
    measured_loss_change = plan.measuredLossChange ?? .nan
    seed = plan.options.seed
    samples = UInt64(plan.samples)
    library_version = UnsafePointer(try memory.string(plan.libraryVersion))
    model_sha256 = UnsafePointer(try memory.string(plan.modelSHA256))
    predicted_low = plan.prediction?.interval?.lowerBound ?? .nan
    predicted_high = plan.prediction?.interval?.upperBound ?? .nan
    held_out_loss = plan.heldOutLoss?.estimate.loss ?? .nan
    held_out_low = plan.heldOutLoss?.estimate.interval?.lowerBound ?? .nan
    held_out_high = plan.heldOutLoss?.estimate.interval?.upperBound ?? .nan
    coding = plan.options.coding.number
    held_out_samples = UInt64(clamping: plan.heldOutLoss?.samples ?? 0)
  }
}
