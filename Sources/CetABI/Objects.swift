import CCet
import Cet
import CetTensor

/// A shape, or shape with unknown sizes, as the caller borrows it.
struct BorrowedShape {
  let name: UnsafePointer<CChar>
  let shape: UnsafePointer<Int64>?
  let rank: UInt32

  init(_ name: String, _ shape: [Int]?, _ memory: BorrowedMemory) throws(CetError) {
    self.name = try memory.string(name)
    self.shape = try shape.map { shape throws(CetError) in try memory.shape(shape) }
    rank = UInt32(shape?.count ?? 0)
  }
}

extension cet_model_info {
  fileprivate init(_ metadata: ModelMetadata, byteCount: Int, _ memory: BorrowedMemory) throws(CetError) {
    self.init()
    ir_version = metadata.irVersion
    model_version = metadata.version
    producer_name = try memory.string(metadata.producer)
    producer_version = try memory.string(metadata.producerVersion)
    domain = try memory.string(metadata.domain)
    graph_name = try memory.string(metadata.graphName)
    documentation = try memory.string(metadata.documentation)
    file_bytes = UInt64(clamping: byteCount)
  }
}

extension BorrowedMemory {
  func values(_ values: [ValueInfo]) throws(CetError) -> [cet_value_info] {
    try values.map { value throws(CetError) in
      let sizes = value.shape?.map { dimension in
        if case .fixed(let size) = dimension { size } else { -1 }
      }
      let borrowed = try BorrowedShape(value.name, sizes, self)
      var info = cet_value_info()
      info.rank = borrowed.rank
      info.name = borrowed.name
      info.shape = borrowed.shape
      info.element_type = value.type?.rawValue ?? 0
      return info
    }
  }

  func parameters(_ parameters: [ParameterSlot]) throws(CetError) -> [cet_parameter_info] {
    try parameters.map { parameter throws(CetError) in
      let borrowed = try BorrowedShape(parameter.name, parameter.shape, self)
      var info = cet_parameter_info()
      info.rank = borrowed.rank
      info.name = borrowed.name
      info.shape = borrowed.shape
      info.offset = UInt64(parameter.offset)
      info.count = UInt64(parameter.count)
      return info
    }
  }
}

final class ModelObject: HandleObject {
  override class var tag: UInt64 { 0x6d6f_6465_6c5f_7463 }
  override class var kind: String { "model" }
  let model: LoadedModel
  private(set) var inputs: [cet_value_info] = []
  private(set) var outputs: [cet_value_info] = []
  private(set) var parameters: [cet_parameter_info] = []
  private(set) var info = cet_model_info()
  private(set) var opsets: [(domain: UnsafePointer<CChar>, version: Int)] = []
  private(set) var entries: [(key: UnsafePointer<CChar>, value: UnsafePointer<CChar>)] = []
  private let lock = Lock()
  private var digest: UnsafePointer<CChar>?

  init(_ model: LoadedModel) throws(CetError) {
    self.model = model
    super.init()
    inputs = try memory.values(model.requiredInputs)
    outputs = try memory.values(model.outputs)
    parameters = try memory.parameters(model.parameters)
    let metadata = model.metadata
    info = try cet_model_info(metadata, byteCount: model.byteCount, memory)
    opsets = try metadata.opsets.map { set throws(CetError) in (try memory.string(set.domain), set.version) }
    entries = try metadata.entries.map { key, value throws(CetError) in (try memory.string(key), try memory.string(value)) }
  }

  /// Read through when first asked for.
  func sha256() throws(CetError) -> UnsafePointer<CChar> {
    try lock.withLock { () throws(CetError) in
      if let digest { return digest }
      try model.findDigest()
      let made = try memory.string(model.sha256)
      digest = made
      return made
    }
  }
}

final class CalibrationObject: HandleObject {
  override class var tag: UInt64 { 0x6361_6c69_625f_7463 }
  override class var kind: String { "calibration" }
  private let lock = Lock()
  private var held: Calibration
  private var latest: (required: [ValueInfo], calibration: Calibration)?
  private struct Place: Hashable {
    var batch: Int
    var name: String
  }
  // With the tensor that each points into.
  private var views: [Place: (view: cet_tensor, tensor: Tensor)] = [:]

  init(_ calibration: Calibration) { held = calibration }

  var calibration: Calibration { lock.withLock { held } }
  func add(inputs: [(name: String, tensor: Tensor)], labels: Tensor?) throws(CetError) {
    try lock.withLock { () throws(CetError) in
      try held.add(inputs: inputs, labels: labels)
      latest = nil
    }
  }

  /// What models with these inputs need of it; kept for the next call, because a run asks for every few samples.
  func fitted(to required: [ValueInfo]) throws(CetError) -> Calibration {
    try lock.withLock { () throws(CetError) in
      if let latest, latest.required == required { return latest.calibration }
      let calibration = try held.fitted(to: required)
      latest = (required, calibration)
      return calibration
    }
  }

  func array(_ name: String, batch: Int) throws(CetError) -> cet_tensor {
    try lock.withLock { () throws(CetError) in
      let place = Place(batch: batch, name: name)
      if let known = views[place] { return known.view }
      let tensor = try held.array(name, in: element(held.batches, batch, "batch")).rowMajor()
      var view = cet_tensor()
      view.data = UnsafeRawPointer(tensor.pointer)
      view.byte_size = UInt64(tensor.byteCount)
      view.shape = try memory.shape(tensor.shape)
      view.rank = UInt32(tensor.rank)
      view.element_type = tensor.type.rawValue
      views[place] = (view, tensor)
      return view
    }
  }
}

final class PlanObject: HandleObject {
  override class var tag: UInt64 { 0x706c_616e_5f5f_7463 }
  override class var kind: String { "plan" }
  let plan: CompressionPlan
  private(set) var tensors: [cet_plan_tensor] = []
  private(set) var activations: [cet_plan_activation] = []
  private(set) var summary = cet_plan_summary()
  private(set) var notes: [UnsafePointer<CChar>] = []

  init(_ plan: CompressionPlan) throws(CetError) {
    self.plan = plan
    super.init()
    notes = try plan.notes.map { note throws(CetError) in try memory.string(note) }
    tensors = try plan.tensors.map { tensor throws(CetError) in try cet_plan_tensor(tensor, memory) }
    activations = try plan.activations.map { activation throws(CetError) in try cet_plan_activation(activation, memory) }
    summary = try cet_plan_summary(plan, memory)
  }
}

final class SessionObject: HandleObject {
  override class var tag: UInt64 { 0x7365_7373_5f5f_7463 }
  override class var kind: String { "session" }
  let session: PlanningSession

  init(_ session: PlanningSession) { self.session = session }
}

final class QuantizedObject: HandleObject {
  override class var tag: UInt64 { 0x7175_616e_745f_7463 }
  override class var kind: String { "quantized" }
  let model: QuantizedModel
  let tensors: [QuantizedTensor]
  let corrections: [Correction]
  private let lock = Lock()
  private var views: [Int: cet_initializer_view] = [:]
  private var correctionViews: [Int: cet_correction_view] = [:]

  init(_ model: QuantizedModel) {
    self.model = model
    tensors = model.tensors
    corrections = model.corrections
  }

  /// Copies into borrowed memory when first asked for: many hosts only save.
  func view(_ index: Int) throws(CetError) -> cet_initializer_view {
    let tensor = try element(tensors, index, "initializer")
    return try lock.withLock { () throws(CetError) in
      if let view = views[index] { return view }
      let borrowed = try BorrowedShape(tensor.name, tensor.shape, memory)
      var view = cet_initializer_view()
      view.rank = borrowed.rank
      view.name = borrowed.name
      view.shape = borrowed.shape
      view.parameter_count = UInt64(tensor.count)
      view.bits = Int32(tensor.bits)
      view.axis = tensor.axis.map(Int32.init) ?? -1
      view.block_size = UInt32(tensor.blockSize)
      view.zero_point_unit = UInt32(tensor.zeroUnit)
      let codes = BitPacking.pack(tensor.codes, bits: tensor.bits)
      view.codes = try memory.array(codes)
      view.code_bytes = UInt64(codes.count)
      view.scale = try memory.array(tensor.scales)
      view.coding = tensor.coding.kind.number
      if let code = tensor.coding.trellis {
        view.trellis_state_bits = UInt32(code.stateBits)
        view.trellis_table = try memory.array(code.table)
        view.trellis_rotation = UInt32(tensor.walk.rotation)
      } else {
        view.zero_point = try memory.array(tensor.ownOrSharedZeroPoints)
      }
      view.scale_count = UInt64(tensor.scales.count)
      views[index] = view
      return view
    }
  }

  func correction(_ index: Int) throws(CetError) -> cet_correction_view {
    let correction = try element(corrections, index, "correction")
    return try lock.withLock { () throws(CetError) in
      if let view = correctionViews[index] { return view }
      var view = cet_correction_view()
      view.added = correction.isAdded ? 1 : 0
      view.name = try memory.string(correction.name)
      view.node = try memory.string(correction.node)
      view.values = try memory.array(correction.values)
      view.count = UInt64(correction.values.count)
      correctionViews[index] = view
      return view
    }
  }
}

final class CurvatureObject: HandleObject {
  override class var tag: UInt64 { 0x6375_7276_615f_7463 }
  override class var kind: String { "curvature" }
  let curvature: Curvature
  private(set) var parameters: [cet_parameter_info] = []
  private(set) var notes: [UnsafePointer<CChar>] = []

  init(_ curvature: Curvature) throws(CetError) {
    self.curvature = curvature
    super.init()
    notes = try curvature.notes.map { note throws(CetError) in try memory.string(note) }
    parameters = try memory.parameters(curvature.parameters)
  }
}

final class SpectrumObject: HandleObject {
  override class var tag: UInt64 { 0x7370_6563_745f_7463 }
  override class var kind: String { "spectrum" }
  let spectrum: Spectrum

  init(_ spectrum: Spectrum) { self.spectrum = spectrum }
}

final class OutputsObject: HandleObject {
  override class var tag: UInt64 { 0x6f75_7470_745f_7463 }
  override class var kind: String { "outputs" }
  let outputs: [(name: String, tensor: Tensor)]
  private(set) var tensors: [cet_tensor] = []

  init(_ outputs: [(name: String, tensor: Tensor)]) throws(CetError) {
    self.outputs = try outputs.map { name, tensor throws(CetError) in (name, try tensor.rowMajor()) }
    super.init()
    tensors = try self.outputs.map { output throws(CetError) in
      let borrowed = try BorrowedShape(output.name, output.tensor.shape, memory)
      var tensor = cet_tensor()
      tensor.name = borrowed.name
      tensor.data = UnsafeRawPointer(output.tensor.pointer)
      tensor.byte_size = UInt64(output.tensor.byteCount)
      tensor.shape = borrowed.shape
      tensor.rank = borrowed.rank
      tensor.element_type = output.tensor.type.rawValue
      return tensor
    }
  }
}
