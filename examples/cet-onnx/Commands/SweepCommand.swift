import ArgumentParser
import CCet

/// Ratios as `8,11,12.8`.
struct RatioList {
  var values: [(text: String, ratio: Double)] = []

  init(_ argument: String) throws {
    for part in argument.split(separator: ",", omittingEmptySubsequences: false) {
      let text = String(part)
      let ratio = try decimal(text)
      guard ratio > 0 else { throw ValidationError("expected ratios greater than 0, got \(text)") }
      guard !values.contains(where: { $0.ratio == ratio }) else { throw ValidationError("\(text) is there twice") }
      values.append((text, ratio))
    }
  }
}

struct SweepCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "sweep", abstract: "Compress to several ratios from one sensitivity table.")

  @Argument(help: ArgumentHelp("The model.", valueName: "in.onnx")) var input: String
  @OptionGroup var data: CalibrationArguments
  @Option(parsing: .unconditional, help: ArgumentHelp("Ratios with commas between them.", valueName: "r,r,..."), transform: RatioList.init)
  var ratios: RatioList
  @OptionGroup(title: "Method") var method: MethodArguments
  @OptionGroup(title: "Effort") var effort: EffortArguments
  @Option(name: .shortAndLong, help: ArgumentHelp("Folder for the models, plans and sweep.json.", valueName: "dir"))
  var output: String
  @Option(help: ArgumentHelp("Write a report about all ratios that a browser shows.", valueName: "out.html")) var report: String?
  @OptionGroup var overwrite: OverwriteArguments
  @OptionGroup var show: OutputArguments

  func validate() throws {
    try show.check([report])
    if output == "-" { throw ValidationError("--output: a sweep writes several files, '-' has room for one") }
  }

  func run() throws {
    let started = monotonicSeconds()
    let monitor = Monitor(quiet: show.quiet)
    let files = try RunFiles(reads: [("the model", input), ("--data", data.data)], writes: writes, force: overwrite.force)
    if method.externalData { for (text, _) in ratios.values { try files.checkData(beside: path(text, ".onnx")) } }
    let model = try files.model(input)
    let calibration = try files.calibration(data.data)
    // Methods that take their bits from the data plan for every ratio anew.
    let plansOnce = ![.paper, .clado].contains(method.method)
    monitor.expect(
      [[Stage]](repeating: Stage.planning, count: plansOnce ? 1 : ratios.values.count)
        + [[Stage]](repeating: Stage.quantizing, count: ratios.values.count))
    let plans = try makePlans(model, calibration, monitor)
    try files.makeFolder(output)
    let encoding = method.encoding?.followingPlan ?? 0
    var models: [(path: String, save: (String) throws -> Void)] = []
    var runs: [Report.Run] = []
    for (ratio, plan) in zip(ratios.values, plans) {
      try Interrupt.check()
      monitor.title = "\(ratio.text)x"
      let began = monotonicSeconds()
      monitor.nextCall()
      let path = path(ratio.text, ".onnx")
      let quantized = try Quantized(model, calibration, plan, try quantizeOptions(method, effort, monitor))
      let done = try Plan.carriedOut(in: quantized)
      monitor.note(try done.notes())
      try files.stage(done.json() + "\n", as: self.path(ratio.text, ".plan.json"))
      models.append((path, { try quantized.save($0, encoding: encoding) }))
      var outcome = try Outcome(command: "compress", input: input, output: path, plan: done, notes: [], seconds: 0)
      let written = try WrittenModel(quantized, encoding, of: model, calibration, outcome.totals, threads: effort.threads.number, monitor)
      monitor.note(written.notes)
      outcome.written = written
      outcome.seconds = monotonicSeconds() - began
      runs.append(Report.Run(label: "\(ratio.text)×", outcome: outcome))
    }
    monitor.finish()
    if let report {
      let curve = try plans.first.map { try SizeLossCurve(model, $0) }
      try files.stage(Report(input: input, runs: runs, curve: curve, notes: monitor.notes).html, as: report)
    }
    let document = JSONText.object([
      ("command", .string("sweep")), ("input", .string(input)),
      ("seconds", .number(monotonicSeconds() - started)), ("notes", .array(monitor.notes.map { .string($0) })),
      ("results", .array(runs.map { $0.outcome.json() })),
    ])
    try files.stage(document.text + "\n", as: "\(output)/sweep.json")
    try files.complete(saving: models)
    try show.show(json: document, text: table(runs.map(\.outcome)) + monitor.notes.map { "note: \($0)\n" }.joined(),
      isTaken: files.takesStandardOutput)
  }

  /// All plans before the first file: a ratio that cannot be reached ends the run with nothing written.
  private func makePlans(_ model: Model, _ calibration: CalibrationSet, _ monitor: Monitor) throws -> [Plan] {
    func plan(_ ratio: Double) throws -> Plan {
      monitor.nextCall()
      return try withPlanOptions(method, effort, Target(ratio: ratio), monitor) { try Plan.make(model, calibration, $0) }
    }
    // These take their bits from the data: they keep no table.
    if [.paper, .clado].contains(method.method) { return try ratios.values.map { try plan($0.ratio) } }
    // The smallest ratio asks least, so that its table exists whenever any of them can be reached. An encoding that the library
    // chooses is the one that all of them can have.
    let sources = ratios.values.map(\.ratio)
    let source = try plan((method.encoding == .auto ? sources.max() : sources.min()) ?? 1)
    return try ratios.values.map { _, ratio in
      try withPlanOptions(method, effort, Target(ratio: ratio), monitor) { try Plan.make(model, from: source, $0) }
    }
  }

  private func path(_ ratio: String, _ end: String) -> String { "\(output)/\(stem).\(ratio)x\(end)" }

  private var writes: [(name: String, path: String?, kind: FileKind)] {
    ratios.values.flatMap { text, _ -> [(name: String, path: String?, kind: FileKind)] in
      [("the output", path(text, ".onnx"), .model), ("the output", path(text, ".plan.json"), .plan)]
    } + [("the output", "\(output)/sweep.json", .sweep), ("--report", report, .report)]
  }

  private var stem: String {
    if input == "-" { return "model" }
    let name = input.split(separator: "/").last.map(String.init) ?? input
    return name.hasSuffix(".onnx") ? String(name.dropLast(5)) : name
  }

  private func table(_ outcomes: [Outcome]) -> String {
    var table = Table([
      ("asked", .right), ("ratio", .right), ("file", .right), ("bytes", .right), ("bits", .right), ("predicted", .right),
      ("held out", .right), ("fitted", .right), ("top-1", .right),
    ])
    for (ratio, outcome) in zip(ratios.values, outcomes) {
      let totals = outcome.totals
      table.add([
        ratio.text + "x", fixed(totals.ratio) + "x", fixed(totals.ratioOfFiles) + "x", grouped(totals.fileBytes),
        fixed(totals.meanBits, 3), scientific(totals.predictedLossChange), scientific(totals.heldOutLoss),
        scientific(totals.measuredLossChange),
        outcome.written?.agreement?.comparison.outputs.compactMap(\.agreement).first.map { fixed(100 * $0) + "%" } ?? "-",
      ])
    }
    let curve = TextCurve(
      points: zip(ratios.values, outcomes).map { ratio, outcome in
        let totals = outcome.totals
        return (totals.ratioOfFiles, totals.heldOutLoss.isNaN ? totals.predictedLossChange : totals.heldOutLoss, "\(ratio.text)x")
      })
    return table.text + curve.text + "\nmodels and plans: \(output)/\(stem).RATIOx.onnx, .plan.json\n"
  }
}
