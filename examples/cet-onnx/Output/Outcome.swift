/// What compress and plan found, for the table, the JSON document and the report.
struct Outcome {
  var command: String
  var input: String
  var output: String
  var tensors: [TensorLine]
  var activations: [ActivationLine]
  var totals: PlanTotals
  var notes: [String]
  var seconds: Double
  /// nil: nothing is written yet.
  var written: WrittenModel?
  /// Of a dry run.
  var outlook: Outlook?
  private(set) var planDocument: String

  init(
    command: String, input: String, output: String, plan: Plan, notes: [String], seconds: Double
  ) throws {
    self.command = command
    self.input = input
    self.output = output
    self.notes = notes
    self.seconds = seconds
    tensors = try plan.tensors()
    activations = try plan.activations()
    totals = try plan.totals()
    planDocument = try plan.json()
  }

  func text() -> String {
    var table = Table([
      ("tensor", .left), ("node", .left), ("op", .left), ("bits", .right), ("coding", .left), ("bytes", .right), ("loss change", .right),
    ])
    for tensor in tensors {
      table.add([
        tensor.name, tensor.node, tensor.operatorType, tensor.isPlanned ? String(tensor.bits) : "float",
        tensor.isPlanned ? tensor.coding : "-", grouped(tensor.storedBytes), scientific(tensor.predictedLossChange),
      ])
    }
    return table.text + "\n" + (activations.isEmpty ? "" : activations.table + "\n") + listing(summary) + notes.map { "note: \($0)\n" }.joined()
  }

  /// Names and values of what counts about the whole plan.
  var summary: [(name: String, value: String)] {
    let rounded = activations.isEmpty ? [] : [("activations", activations.summary)]
    let lines = [
      ("method", "\(totals.method), \(totals.rounding) rounding, \(totals.granularity), \(totals.encoding)"),
      ("planned weights", "\(grouped(totals.parameterCount)) at \(fixed(totals.meanBits, 3)) bits on average"),
    ] + rounded + [
      (
        "initializers",
        "\(grouped(totals.floatBytes)) B float32 -> \(grouped(totals.codeBytes)) B codes, "
          + "\(grouped(totals.storedBytes)) B with scales"
      ),
      ("whole file", "\(grouped(totals.modelBytes)) B -> \(grouped(totals.fileBytes)) B"),
      (
        "ratio",
        "\(fixed(totals.ratio))x codes only, \(fixed(totals.ratioWithScales))x with scales, "
          + "\(fixed(totals.ratioOfFiles))x whole file"
      ),
      (
        "loss change",
        "\(scientific(totals.predictedLossChange))\(totals.predictedInterval.text) predicted for new samples "
          + "(\(totals.loss), mean over samples; interval of 95 %)"
      ),
    ]
    if let outlook { return lines + outlook.lines }
    return lines + [("", heldOut), ("", fitted)] + (written?.agreement?.summary ?? []) + [
      ("time", String(format: "%.1f s", seconds)), ("written", output == "-" ? "standard output" : output),
    ]
  }

  private var heldOut: String {
    guard !totals.heldOutLoss.isNaN else { return "not measured on held-out samples" }
    return "\(scientific(totals.heldOutLoss)) on \(grouped(totals.heldOutSamples)) held-out samples "
      + (totals.rounding == "nearest" ? "(nearest codes are fitted to none)" : "(codes fitted to the others)")
  }

  private var fitted: String {
    guard !totals.measuredLossChange.isNaN else { return "not measured on the samples that the codes are fitted to" }
    return "\(scientific(totals.measuredLossChange)) on the \(grouped(totals.samples)) samples that the codes are fitted to"
  }

  func json() -> JSONText {
    .object((outlook.map { [("dry_run", $0.json)] } ?? []) + [
      ("command", .string(command)),
      ("input", .string(input)),
      ("output", .string(output)),
      (
        "bytes",
        .object([
          ("float32", .integer(totals.floatBytes)), ("codes", .integer(totals.codeBytes)),
          ("stored", .integer(totals.storedBytes)), ("file", .integer(totals.fileBytes)),
          ("model", .integer(totals.modelBytes)),
        ])
      ),
      (
        "ratio",
        .object([
          ("codes", .number(totals.ratio)), ("with_scales", .number(totals.ratioWithScales)),
          ("file", .number(totals.ratioOfFiles)),
        ])
      ),
      ("predicted_loss_change", .number(totals.predictedLossChange)),
      ("predicted_loss_interval", totals.predictedInterval.json),
      ("held_out_loss", .number(totals.heldOutLoss)),
      ("held_out_interval", totals.heldOutInterval.json),
      ("held_out_samples", .integer(totals.heldOutSamples)),
      ("measured_loss", .number(totals.measuredLossChange)),
      ("measured_loss_change", .number(totals.measuredLossChange)),
      ("measured_samples", .integer(totals.samples)),
      ("agreement", written?.agreement?.json ?? .null),
      ("sha256", written?.sha256.map { .string($0) } ?? .null),
      ("seconds", .number(seconds)),
      ("notes", .array(notes.map { .string($0) })),
      ("plan", .document(planDocument)),
    ])
  }
}
