import CetFormats
import CetTensor

extension CompressionPlan {
  /// Version of the document's layout. Readers ignore members they do not know and refuse higher versions.
  static let documentVersion = 1
  private static let largest = 1 << 46

  public func json() -> JSON {
    .object([
      .init("format", .string("cet-plan")),
      .init("version", .integer(CompressionPlan.documentVersion)),
      .init("library_version", .string(libraryVersion)),
      .init("model", .object([.init("sha256", .string(modelSHA256)), .init("bytes", .integer(modelBytes))])),
      .init("options", options.json()),
      .init("loss", .string(loss.rawValue)),
      .init("samples", .integer(samples)),
      .init(
        "totals",
        .object([
          .init("ratio", .double(ratio)),
          .init("mean_bits", .double(meanBits)),
          .init("parameter_count", .integer(parameterCount)),
          .init("code_bytes", .integer(codeBytes)),
          .init("stored_bytes", .integer(storedBytes)),
          .init("file_bytes", .integer(fileBytes)),
        ])),
      .init("predicted_loss_change", .double(prediction?.loss)),
      .init(
        "predicted_loss_interval",
        JSON.range(prediction?.interval)),
      .init("anchor", anchor.map { $0.json() } ?? .null),
      .init("judgement", judgement.map { $0.json() } ?? .null),
      .init("held_out_loss", .double(heldOutLoss?.estimate.loss)),
      .init("held_out_interval", JSON.range(heldOutLoss?.estimate.interval)),
      .init("held_out_samples", .integer(heldOutLoss?.samples)),
      .init("measured_loss_change", .double(measuredLossChange)),
      .init("notes", .array(notes.map { .string($0) })),
      .init("tensors", .array(tensors.map { $0.json() })),
      .init("activations", .array(activations.map { $0.json() })),
    ])
  }

  public func jsonText() -> String { json().serialized() }

  public init(jsonText: String) throws(CetError) { try self.init(json: JSON.parse(jsonText)) }

  /// Totals other than the file's size follow from the tensors and are not read. Where a tensor's bits are not those
  /// that were decided, its loss and bytes are computed anew; the file's size is then unknown until there is a model.
  public init(json: JSON) throws(CetError) {
    let document = JSONFields(json, document: "plan JSON")
    guard case .string("cet-plan") = try document.optional("format")?.value else {
      throw document.error("expected member \"format\" with \"cet-plan\"")
    }
    let version = try document.required("version").integer(1...Int.max)
    guard version <= CompressionPlan.documentVersion else {
      throw document.error("version \(version) is newer than this library's \(CompressionPlan.documentVersion)")
    }
    let model = try document.required("model")
    let digest = try model.required("sha256")
    let sha256 = try digest.string()
    guard sha256.utf8.count == 64, sha256.allSatisfy({ $0.isHexDigit && $0.isASCII }) else {
      throw digest.error("expected 64 hexadecimal digits")
    }
    let tensors = try document.required("tensors").array()
    self.init(
      modelSHA256: sha256.lowercased(), modelBytes: try model.required("bytes").integer(0...CompressionPlan.largest),
      options: try PlanOptions(fields: document.required("options")),
      loss: try document.required("loss").choice(),
      samples: try document.required("samples").integer(0...CompressionPlan.largest),
      tensors: try tensors.map { fields throws(CetError) in try PlannedTensor(fields: fields) },
      fileBytes: try document.required("totals").required("file_bytes").integer(0...CompressionPlan.largest))
    libraryVersion = try document.required("library_version").string()
    prediction = try LossEstimate(document, loss: "predicted_loss_change", interval: "predicted_loss_interval")
    anchor = try document.optional("anchor").flatMap { fields throws(CetError) in try PredictionAnchor(fields: fields) }
    judgement = try document.optional("judgement").map { fields throws(CetError) in try PlanJudgement(fields: fields) }
    heldOutLoss = try HeldOutLoss(members: document)
    measuredLossChange = try document.optional("measured_loss_change")?.double()
    notes = try document.optional("notes")?.array().map { field throws(CetError) in try field.string() } ?? []
    activations = try document.optional("activations")?.array().map { fields throws(CetError) in try PlannedActivation(fields: fields) } ?? []
    var values: Set<String> = []
    for value in activations.flatMap({ [$0.name] + $0.copies }) {
      guard values.insert(value).inserted else { throw document.error("activation '\(value)' appears twice") }
    }
    var names: Set<String> = []
    for tensor in self.tensors {
      guard names.insert(tensor.name).inserted else { throw document.error("tensor '\(tensor.name)' appears twice") }
    }
    try readEdits(tensors, document.optional("activations")?.array() ?? [])
  }

  private mutating func readEdits(_ fields: [JSONFields], _ activationFields: [JSONFields]) throws(CetError) {
    var isEdited = false
    for (index, field) in activationFields.enumerated() {
      let bits = activations[index].bits
      guard let decided = try field.optional("decided_bits"), try decided.integer(1...PlannedTensor.keptBits) != bits else { continue }
      activations[index].reason = CompressionPlan.byHand
      isEdited = true
    }
    for (index, field) in fields.enumerated() {
      let tensor = tensors[index]
      let isKept = tensor.bits == PlannedTensor.keptBits
      if let decided = try field.optional("decided_bits") {
        guard try decided.integer(PlannedTensor.possibleBits) != tensor.bits else {
          guard isKept != tensor.isPlanned else {
            throw try field.required("decision").error("'\(tensor.decision.rawValue)' does not go with \(tensor.bits) bits")
          }
          if let known = tensor.codings[tensor.bits], known != tensor.coding {
            throw try field.required("coding").error(
              "'\(tensor.coding.rawValue)' is not what the table's loss at \(tensor.bits) bits is of, '\(known.rawValue)'")
          }
          continue
        }
      } else if isKept != tensor.isPlanned {
        continue
      }
      if !isKept, tensor.axis == nil, options.granularity != .perTensor { _ = try field.required("axis") }
      setByHand(index, bits: tensor.bits)
      isEdited = true
    }
    if isEdited { forgetFormerBits() }
  }
}

extension PlannedTensor {
  func json() -> JSON {
    func table(_ entries: [Int: Double]) -> JSON {
      .object(entries.sorted { $0.key < $1.key }.map { .init(String($0.key), .double($0.value)) })
    }
    return .object([
      .init("name", .string(name)),
      .init("node", .text(node.isEmpty ? nil : node)),
      .init("operator", .text(operatorType.isEmpty ? nil : operatorType)),
      .init("shape", .array(shape.map { .integer($0) })),
      .init("bits", .integer(bits)),
      .init("decided_bits", .integer(bits)),
      .init("coding", .string(coding.rawValue)),
      .init("decision", .string(decision.rawValue)),
      .init("reason", .string(reason)),
      .init("axis", .integer(axis)),
      .init("block_size", .integer(blockSize)),
      .init("predicted_loss_change", .double(predictedLossChange)),
      .init("loss_per_byte", .double(lossPerByte)),
      .init("code_bytes", .integer(codeBytes)),
      .init("stored_bytes", .integer(storedBytes)),
      .init("sensitivity", table(sensitivity)),
      .init("codings", .object(codings.sorted { $0.key < $1.key }.map { .init(String($0.key), .string($0.value.rawValue)) })),
      .init("measured_loss", table(measuredLoss)),
      .init("curvature_loss", table(curvatureLoss)),
      .init("trust_radius", .double(trustRadius)),
    ])
  }

  init(fields: JSONFields) throws(CetError) {
    let shape = try fields.required("shape").array().map { size throws(CetError) in try size.integer(0...(1 << 46)) }
    guard shape.validatedCount != nil else { throw fields.error("shape \(shape.shapeText) is too large") }
    let bitsField = try fields.required("bits")
    let bits = try bitsField.integer(PlannedTensor.possibleBits)
    guard bits == PlannedTensor.keptBits || PlanOptions.allowedBits.contains(bits) else {
      throw bitsField.error("expected 1 to 8, or \(PlannedTensor.keptBits) for float32, got \(bits)")
    }
    self.init(
      name: try fields.required("name").string(), shape: shape, bits: bits,
      decision: try fields.required("decision").choice(Decision.self),
      reason: try fields.optional("reason")?.string() ?? "")
    node = try fields.optional("node")?.string() ?? ""
    operatorType = try fields.optional("operator")?.string() ?? ""
    if let field = try fields.optional("axis") {
      guard !shape.isEmpty else { throw field.error("a scalar has no axis") }
      axis = try field.integer(0...(shape.count - 1))
    }
    // Before there was a choice codes were affine.
    coding = try fields.optional("coding")?.choice() ?? .affine
    for (name, field) in try fields.optional("codings")?.members() ?? [] { codings[try PlannedTensor.width(name, field)] = try field.choice() }
    blockSize = try fields.optional("block_size")?.integer(0...(1 << 46)) ?? 0
    lossPerByte = try fields.optional("loss_per_byte")?.double()
    codeBytes = try fields.required("code_bytes").integer(0...(1 << 46))
    storedBytes = try fields.required("stored_bytes").integer(0...(1 << 46))
    measuredLoss = try PlannedTensor.table(fields.optional("measured_loss"))
    sensitivity = try PlannedTensor.table(fields.optional("sensitivity"))
    curvatureLoss = try PlannedTensor.table(fields.optional("curvature_loss"))
    trustRadius = try fields.optional("trust_radius")?.double()
  }

  private static func table(_ fields: JSONFields?) throws(CetError) -> [Int: Double] {
    var result: [Int: Double] = [:]
    for (name, field) in try fields?.members() ?? [] {
      let bits = try width(name, field)
      if field.value != .null { result[bits] = try field.double() }
    }
    return result
  }

  private static func width(_ name: String, _ field: JSONFields) throws(CetError) -> Int {
    guard let bits = Int(name), PlanOptions.allowedBits.contains(bits) else {
      throw field.error("expected a bit width from 1 to 8 as the member's name")
    }
    return bits
  }
}

extension PlanOptions {
  func json() -> JSON {
    func rules(_ rules: [BitRule]) -> JSON {
      .array(rules.map { .object([.init("pattern", .string($0.pattern)), .init("bits", .integer($0.bits))]) })
    }
    let (targetName, targetValue): (String, JSON) =
      switch target {
      case .ratio(let value): ("target_ratio", .double(value))
      case .bits(let value): ("target_bits", .double(value))
      case .size(let value): ("target_size", .integer(value))
      case .maximumLoss(let value): ("max_loss", .double(value))
      }
    return .object([
      .init(targetName, targetValue),
      .init("method", .string(method.rawValue)),
      .init("loss", .text(loss?.rawValue)),
      .init("curvature", .string(curvature.rawValue)),
      .init("rounding", .string(rounding.rawValue)),
      .init("granularity", .string(granularity.description)),
      .init("encoding", .string(encoding.rawValue)),
      .init("min_runtime", .text(runtime?.description)),
      .init("coding", .string(coding.rawValue)),
      .init("effort", .string(effort.rawValue)),
      .init("bits", .array(widths.map { .integer($0) })),
      .init("keep", .array(keep.map { .string($0) })),
      .init("fix", rules(fix)),
      .init("min_bits", rules(minBits)),
      .init("max_bits", rules(maxBits)),
      .init("group", .array(group.map { .string($0) })),
      .init("seed", .integer(seed)),
      .init("samples", .integer(samples)),
      .init("batch_size", .integer(batchSize)),
      .init("shifts", .integer(shifts)),
      .init("max_memory", .integer(maxMemory)),
      .init("eigenpairs", .integer(eigenpairs)),
      .init("max_iterations", .integer(maxIterations)),
      .init("output", .text(output)),
      .init("activations", activations.map { $0.json() } ?? .null),
      .init("external_data", .bool(place == .beside)),
    ])
  }

  init(fields: JSONFields) throws(CetError) {
    var targets: [Target] = []
    if let field = try fields.optional("target_ratio") { targets.append(.ratio(try field.double())) }
    if let field = try fields.optional("target_bits") { targets.append(.bits(try field.double())) }
    if let field = try fields.optional("target_size") { targets.append(.size(try field.integer(1...Int.max))) }
    if let field = try fields.optional("max_loss") { targets.append(.maximumLoss(try field.double())) }
    guard let target = targets.first, targets.count == 1 else {
      throw fields.error("expected exactly one of target_ratio, target_bits, target_size, max_loss")
    }
    self.init(target: target)
    method = try fields.required("method").choice()
    loss = try fields.optional("loss")?.choice()
    curvature = try fields.required("curvature").choice()
    rounding = try fields.required("rounding").choice()
    encoding = try fields.required("encoding").choice()
    runtime = try fields.optional("min_runtime").map { field throws(CetError) in try Runtime(field.string()) }
    let granularityField = try fields.required("granularity")
    guard let granularity = Granularity(try granularityField.string()) else {
      throw granularityField.error("expected per-tensor, per-axis or block:N")
    }
    self.granularity = granularity
    // Before there was a choice codes were affine.
    coding = try fields.optional("coding")?.choice() ?? .affine
    effort = try fields.optional("effort")?.choice() ?? .medium
    bits = try fields.required("bits").array().map { bits throws(CetError) in try bits.integer(PlanOptions.allowedBits) }
    keep = try fields.optional("keep")?.array().map { field throws(CetError) in try field.string() } ?? []
    fix = try PlanOptions.rules(fields.optional("fix"))
    minBits = try PlanOptions.rules(fields.optional("min_bits"))
    maxBits = try PlanOptions.rules(fields.optional("max_bits"))
    group = try fields.optional("group")?.array().map { field throws(CetError) in try field.string() } ?? []
    seed = try fields.optional("seed")?.integer(0...UInt64.max) ?? 0
    samples = try fields.optional("samples")?.integer(1...Int.max)
    batchSize = try fields.optional("batch_size")?.integer(1...Int.max)
    shifts = try fields.optional("shifts")?.integer(0...64)
    maxMemory = try fields.optional("max_memory")?.integer(1...Int.max)
    eigenpairs = try fields.optional("eigenpairs")?.integer(1...Int.max)
    maxIterations = try fields.optional("max_iterations")?.integer(1...Int.max)
    output = try fields.optional("output")?.string()
    activations = try fields.optional("activations").map { field throws(CetError) in try ActivationOptions(fields: field) }
    place = try fields.optional("external_data")?.bool() ?? false ? .beside : .inside
    do { try validate() } catch { throw fields.error(error.message) }
  }

  private static func rules(_ fields: JSONFields?) throws(CetError) -> [BitRule] {
    try fields?.array().map { rule throws(CetError) in
      BitRule(pattern: try rule.required("pattern").string(), bits: try rule.required("bits").integer(allowedBits))
    } ?? []
  }
}
