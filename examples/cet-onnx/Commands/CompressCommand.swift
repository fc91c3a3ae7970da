import ArgumentParser
import CCet
import Glibc

struct CompressCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "compress", abstract: "Write a small ONNX file that runs in a stock runtime.")

  @Argument(help: ArgumentHelp("The model.", valueName: "in.onnx")) var input: String
  @Argument(help: ArgumentHelp("The compressed model.", valueName: "out.onnx")) var output: String
  @Option(help: ArgumentHelp("Calibration samples: an .npz file or a folder of .npy files.", valueName: "calib"))
  var data: String?
  @OptionGroup(title: "Target (exactly one, none with --plan)") var target: TargetArguments
  @OptionGroup(title: "Method") var method: MethodArguments
  @OptionGroup(title: "Effort") var effort: EffortArguments
  @Option(help: ArgumentHelp("Carry out this plan instead of making one.", valueName: "plan.json")) var plan: String?
  @Flag(help: "Plan, and say what size the file will have, what memory and time the rest takes; write nothing.") var dryRun = false
  @Option(
    help: ArgumentHelp(
      "File that keeps what planning measured (from some two thirds of planning on), so that the same command goes on from it after a kill; removed at the end.",
      valueName: "state"))
  var resume: String?
  @OptionGroup(title: "Report") var report: ReportArguments
  @OptionGroup var overwrite: OverwriteArguments
  @OptionGroup var show: OutputArguments

  func validate() throws {
    try show.check([output, report.report])
    if dryRun {
      try refuse(given([("--report", report.report != nil), ("--resume", resume != nil)]), because: "--dry-run writes nothing")
    }
    if method.externalData, output == "-" { throw ValidationError("--external-data: standard output has no file beside it") }
    if resume == "-" { throw ValidationError("--resume takes a file, not '-'") }
    if target.maxLoss != nil {
      try refuse(given([("--resume", resume != nil)]), because: "does not go with --max-loss, which measures several plans")
    }
    if plan == nil {
      _ = try target.target()
      if data == nil { throw ValidationError("--data is needed to choose bits") }
    } else {
      try refuse(
        target.given + method.settled + given([("--seed", effort.seed != nil), ("--resume", resume != nil)]),
        because: "settled by --plan, leave it out")
      if data == nil { try refuse(effort.ofSamples + report.extras, because: "needs --data") }
    }
  }

  func run() throws {
    let started = monotonicSeconds()
    let monitor = Monitor(quiet: show.quiet)
    let files = try RunFiles(
      reads: [("the model", input), ("--data", data), ("--plan", plan)],
      writes: [
        ("the output", dryRun ? nil : output, .model), ("--report", report.report, .report), ("--resume", resume, .session),
      ], force: overwrite.force)
    if method.externalData, !dryRun { try files.checkData(beside: output) }
    let model = try files.model(input)
    let calibration = try data.map(files.calibration)
    monitor.expect((plan == nil ? [Stage.planning] : []) + (dryRun ? [] : [Stage.quantizing] + report.stages))
    let bitPlan = try makePlan(files, model, calibration, monitor)
    try Interrupt.check()
    // Of a plan that was read it is known only now.
    if try !dryRun && plan != nil && bitPlan.putsDataBeside() {
      try files.checkData(beside: output)
      try files.checkReads(of: model)
    }
    if dryRun { return try foretell(model, calibration, bitPlan, monitor, started) }
    monitor.nextCall()
    let quantized = try Quantized(model, calibration, bitPlan, try quantizeOptions(method, effort, monitor))
    let done = try Plan.carriedOut(in: quantized)
    monitor.note(try done.notes())
    let encoding = method.encoding?.followingPlan ?? 0
    var outcome = try Outcome(
      command: "compress", input: input, output: output, plan: done, notes: [], seconds: 0)
    let written = try WrittenModel(quantized, encoding, of: model, calibration, outcome.totals, threads: effort.threads.number, monitor)
    monitor.note(written.notes)
    outcome.written = written
    outcome.notes = monitor.notes
    outcome.seconds = monotonicSeconds() - started
    if let path = report.report {
      try files.stage(makeReport(outcome, model, calibration, done, quantized, monitor).html, as: path)
    }
    monitor.finish()
    if output == "-" {
      try files.complete(output: quantized.bytes(encoding: encoding))
    } else {
      try files.complete(saving: [(output, { try quantized.save($0, encoding: encoding) })])
    }
    if let resume { unlink(resume) }
    try show.show(json: outcome.json(), text: outcome.text(), isTaken: files.takesStandardOutput)
  }

  private func makeReport(
    _ outcome: Outcome, _ model: Model, _ calibration: CalibrationSet?, _ plan: Plan, _ quantized: Quantized, _ monitor: Monitor
  ) throws -> Report {
    var made = Report(input: input, runs: [Report.Run(outcome: outcome)], notes: outcome.notes)
    made.curve = try SizeLossCurve(model, plan)
    if let calibration {
      let others = try report.rivals(model, calibration, method, effort, outcome.totals, monitor)
      made.rivals = others.points
      made.notes += others.notes
      if let count = report.reportSpectrum {
        monitor.nextCall()
        made.geometry = try Geometry(
          model, calibration, quantized, count: count.value, plan: outcome.totals, keep: method.kept, output: method.lossOutput,
          threads: effort.threads.number, monitor)
      }
    }
    monitor.finish()
    return made
  }

  /// What the run would come to.
  private func foretell(_ model: Model, _ calibration: CalibrationSet?, _ plan: Plan, _ monitor: Monitor, _ started: Double) throws {
    let options = try quantizeOptions(method, effort, monitor)
    let memory = try calibration.map { try plan.quantizingMemory(model, $0, options) }
    monitor.finish()
    monitor.note(try plan.notes())
    let seconds = monotonicSeconds() - started
    var outcome = try Outcome(
      command: "compress", input: input, output: output, plan: plan, notes: monitor.notes, seconds: seconds)
    let isForIt = options.encoding == 0 || Encoding.word(options.encoding) == outcome.totals.encoding
    let isSame = options.rounding == 0 || Rounding.word(options.rounding) == outcome.totals.rounding
    // Codes that are written are searched for longer than those that are compared.
    let longer = outcome.tensors.contains { $0.coding == Coding.trellis.rawValue && $0.isPlanned } ? 4.0 : 2.0
    // Data beside a model is told as an upper bound.
    let isOneFile = try outcome.totals.fileBytes <= UInt64(Int32.max) && !plan.putsDataBeside()
    outcome.outlook = Outlook(
      fileBytes: isForIt ? outcome.totals.fileBytes : 0, isExact: try isSame && isOneFile && plan.isJudged(), memory: memory, planningSeconds: seconds,
      restSeconds: longer * Double(outcome.tensors.filter(\.isPlanned).count) * monitor.rounding.secondsPerLayer)
    try show.show(json: outcome.json(), text: outcome.text())
  }

  private func makePlan(
    _ files: RunFiles, _ model: Model, _ calibration: CalibrationSet?, _ monitor: Monitor
  ) throws -> Plan {
    if let plan {
      let read = try files.plan(plan)
      guard try calibration != nil || (method.rounding?.rawValue ?? read.totals().rounding) == Rounding.nearest.rawValue else {
        throw Failure(usage: "--data is needed: only --rounding nearest does without")
      }
      return read
    }
    guard let calibration else { throw Failure(usage: "--data is needed to choose bits") }
    monitor.nextCall()
    return try withPlanOptions(method, effort, target.target(), monitor) { options in
      guard let resume else { return try Plan.make(model, calibration, options) }
      let isThere = access(resume, F_OK) == 0
      let session = try isThere ? Session.read(resume, model, calibration, options) : Session.make(model, calibration, options)
      try session.measure(options, keptIn: resume)
      return try session.plan(options)
    }
  }
}
