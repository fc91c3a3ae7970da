import CetFormats
import CetTensor

/// Sessions as files (docs/session-file.md).
extension PlanningSession {
  private static let magic = "CETSESS1"

  /// Writes the table of losses and the samples; makes the table where there is none. The file appears complete or not at all.
  public func save(path: String, _ monitor: Monitor) throws(CetError) {
    try write(findings(monitor), path: path, monitor)
  }

  func write(_ known: Known, path: String, _ monitor: Monitor) throws(CetError) {
    try write(known.samples, known.fingerprint, [.init("plan", known.plan.json())], path: path, monitor)
  }

  /// The losses of single tensors, where no plan is judged yet.
  func writeTable(_ table: Known, _ usualBits: Double?, path: String, _ monitor: Monitor) throws(CetError) {
    try write(
      table.samples, table.fingerprint,
      [.init("table", table.plan.json()), .init("usual_bits", .double(usualBits))], path: path, monitor)
  }

  private func write(
    _ samples: Calibration, _ fingerprint: String, _ found: [JSON.Member], path: String, _ monitor: Monitor
  ) throws(CetError) {
    func described(_ name: String, _ tensor: Tensor) -> JSON {
      .object([
        .init("name", .string(name)), .init("element_type", .integer(Int(tensor.type.rawValue))),
        .init("shape", .array(tensor.shape.map { .integer($0) })),
      ])
    }
    let batches = samples.batches.map { batch in
      JSON.object([
        .init("inputs", .array(batch.inputs.map { described($0.name, $0.tensor) })),
        .init("labels", batch.labels.map { described("labels", $0) } ?? .null),
      ])
    }
    let header = JSON.object(
      [.init("library_version", .string(CompressionPlan.libraryVersion))] + found
        + [.init("samples", .string(fingerprint)), .init("batches", .array(batches))])
    let file = try RecordFile.Writer(path: path, magic: PlanningSession.magic, header: header)
    let tensors = samples.batches.flatMap { batch in batch.inputs.map(\.tensor) + [batch.labels].compactMap { $0 } }
    try FileWatch.expect(tensors.reduce(0) { $0 + $1.byteCount }, .writing)
    for tensor in tensors {
      try monitor.check()
      let whole = try tensor.rowMajor()
      try file.add(UnsafeRawBufferPointer(start: whole.pointer, count: whole.byteCount))
    }
    // The file is there after this: no later wish to stop can undo it.
    try monitor.check()
    try file.finish()
  }

  /// Reads a session that was saved for this model.
  public convenience init(_ model: LoadedModel, path: String) throws(CetError) {
    guard let file = try RecordFile.Reader.open(path: path, magic: PlanningSession.magic, what: "session file") else {
      throw CetError(.io, "cannot read '\(path)': \(systemErrorText())")
    }
    let known: Known
    let table: JSONFields?
    var usualBits: Double?
    do throws(CetError) {
      table = try file.header.optional("table")
      usualBits = try file.header.optional("usual_bits")?.double()
      let fields = if let table { table } else { try file.header.required("plan") }
      let plan = try CompressionPlan(json: fields.value)
      if let table {
        // What is missing is measured by these options.
        try plan.options.validate()
        guard plan.options.method.rules.table == .anyTarget else { throw table.error("method '\(plan.options.method.rawValue)' has no such table") }
      }
      known = Known(plan, try PlanningSession.samples(file))
      try file.finish()
      let expected = try file.header.required("samples")
      guard try expected.string() == known.fingerprint else { throw expected.error("the samples are others") }
    } catch { throw file.damage(error) }
    let samples = try known.samples.fitted(to: model.requiredInputs, fixed: model.overridableInputs)
    let found = Known(try model.fitted(known.plan), samples)
    if table != nil { self.init(model, table: found, usualBits: usualBits) } else { self.init(model, found) }
  }

  private static func samples(_ file: RecordFile.Reader) throws(CetError) -> Calibration {
    Calibration(
      saved: try file.header.required("batches").array().map { batch throws(CetError) in
        (
          inputs: try batch.required("inputs").array().map { field throws(CetError) in
            (try field.required("name").string(), try tensor(field, file))
          },
          labels: try batch.optional("labels").map { field throws(CetError) in try tensor(field, file) }
        )
      })
  }

  private static func tensor(_ fields: JSONFields, _ file: RecordFile.Reader) throws(CetError) -> Tensor {
    let number = try fields.required("element_type")
    guard let type = ElementType(rawValue: Int32(try number.integer(0...255))), type.bitWidth >= 8 else {
      throw number.error("expected the number of an element type")
    }
    let shape = try fields.required("shape").array().map { size throws(CetError) in try size.integer(0...(1 << 46)) }
    guard let count = shape.validatedCount, count <= file.remaining / type.byteWidth else {
      throw fields.error("an array of shape \(shape.shapeText) is larger than the file")
    }
    let tensor = try Tensor(uninitialized: type, shape)
    try file.read(into: UnsafeMutableRawBufferPointer(start: tensor.pointer, count: tensor.byteCount))
    if type == .bool {
      // A Swift Bool must be 0 or 1.
      let bytes = tensor.pointer.assumingMemoryBound(to: UInt8.self)
      for index in 0..<count where bytes[index] != 0 { bytes[index] = 1 }
    }
    return tensor
  }
}
