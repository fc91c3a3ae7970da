import CCet

/// One tensor of a plan, copied out of the library.
struct TensorLine {
  var name: String
  var shape: [Int64]
  /// 32 when kept.
  var bits: Int
  /// What the codes stand for.
  var coding: String
  var decision: Decision
  /// -1: one scale for the whole tensor, or kept.
  var axis: Int
  var blockSize: Int
  var reason: String
  var predictedLossChange: Double
  var lossPerByte: Double
  var codeBytes: UInt64
  var storedBytes: UInt64
  /// By bits 0 to 8; NaN where there is no value.
  var measuredLoss: [Double]
  var curvatureLoss: [Double]
  /// What the choice of bits rests on.
  var sensitivity: [Double]
  /// Weights.
  var count: UInt64
  /// The node that reads the tensor, and its operator; "": not known.
  var node: String
  var operatorType: String

  enum Decision: Int32 { case chosen = 1, fixed, kept }

  var shapeText: String { shape.isEmpty ? "scalar" : shape.map(String.init).joined(separator: "x") }
  var isPlanned: Bool { decision != .kept }
  /// Node and operator; the tensor's name where they are not known.
  var title: String { node.isEmpty ? name : "\(node) · \(operatorType)" }
}

/// Lower and upper end; NaN: not known.
struct Interval {
  var low: Double
  var high: Double

  /// " (low to high)", or nothing.
  var text: String { low.isNaN ? "" : " (\(scientific(low)) to \(scientific(high)))" }
  var json: JSONText { low.isNaN ? .null : .array([.number(low), .number(high)]) }
}

/// A plan as a whole, copied out of the library.
struct PlanTotals {
  var method: String
  var loss: String
  var rounding: String
  var granularity: String
  var encoding: String
  /// 32 / mean bits of the planned weights; scales not counted.
  var ratio: Double
  var meanBits: Double
  var parameterCount: UInt64
  var codeBytes: UInt64
  var storedBytes: UInt64
  var fileBytes: UInt64
  var modelBytes: UInt64
  var predictedLossChange: Double
  var predictedInterval: Interval
  /// NaN before the plan was carried out.
  var measuredLossChange: Double
  /// On samples that the rounding did not see; NaN before the plan was carried out, or with too few samples.
  var heldOutLoss: Double
  var heldOutInterval: Interval
  var heldOutSamples: UInt64
  var seed: UInt64
  var samples: UInt64
  var libraryVersion: String
  var modelSHA256: String

  /// The planned weights as float32.
  var floatBytes: UInt64 { parameterCount &* 4 }
  var ratioWithScales: Double { storedBytes == 0 ? .nan : Double(floatBytes) / Double(storedBytes) }
  var ratioOfFiles: Double { fileBytes == 0 ? .nan : Double(modelBytes) / Double(fileBytes) }
}

extension Plan {
  func tensors() throws -> [TensorLine] {
    try (0..<cet_plan_tensor_count(handle)).map { index in
      var info: cet_plan_tensor = try initialized(cet_plan_tensor_init)
      try check(cet_plan_get_tensor(handle, index, &info))
      return TensorLine(
        name: String(cString: info.name), shape: Array(UnsafeBufferPointer(start: info.shape, count: Int(info.rank))),
        bits: Int(info.bits), coding: Coding.word(info.coding), decision: TensorLine.Decision(rawValue: info.decision) ?? .chosen,
        axis: Int(info.axis), blockSize: Int(info.block_size), reason: info.reason.map { String(cString: $0) } ?? "",
        predictedLossChange: info.predicted_loss_change, lossPerByte: info.loss_per_byte,
        codeBytes: info.code_bytes, storedBytes: info.stored_bytes, measuredLoss: elements(of: info.measured_loss),
        curvatureLoss: elements(of: info.curvature_loss), sensitivity: elements(of: info.sensitivity),
        count: info.parameter_count, node: info.node.map { String(cString: $0) } ?? "",
        operatorType: info.operator_type.map { String(cString: $0) } ?? "")
    }
  }

  func totals() throws -> PlanTotals {
    var summary: cet_plan_summary = try initialized(cet_plan_summary_init)
    try check(cet_plan_get_summary(handle, &summary))
    var granularity = Granularity.word(summary.granularity)
    if summary.granularity == CET_GRANULARITY_BLOCK { granularity += ":\(summary.block_size)" }
    return PlanTotals(
      method: Method.word(summary.method), loss: Loss.word(summary.loss), rounding: Rounding.word(summary.rounding),
      granularity: granularity, encoding: Encoding.word(summary.encoding), ratio: summary.ratio,
      meanBits: summary.mean_bits, parameterCount: summary.parameter_count, codeBytes: summary.code_bytes,
      storedBytes: summary.stored_bytes, fileBytes: summary.file_bytes, modelBytes: summary.model_bytes,
      predictedLossChange: summary.predicted_loss_change,
      predictedInterval: Interval(low: summary.predicted_low, high: summary.predicted_high),
      measuredLossChange: summary.measured_loss_change, heldOutLoss: summary.held_out_loss,
      heldOutInterval: Interval(low: summary.held_out_low, high: summary.held_out_high),
      heldOutSamples: summary.held_out_samples,
      seed: summary.seed, samples: summary.samples, libraryVersion: String(cString: summary.library_version),
      modelSHA256: String(cString: summary.model_sha256))
  }

  func elements<Tuple>(of tuple: Tuple) -> [Double] {
    withUnsafeBytes(of: tuple) { Array($0.assumingMemoryBound(to: Double.self)) }
  }
}
