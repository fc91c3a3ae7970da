import ArgumentParser
import CCet

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
  @OptionGroup(title: "Report") var report: ReportArguments
  @OptionGroup var overwrite: OverwriteArguments
  @OptionGroup var show: OutputArguments

  func validate() throws {
    try show.check([output, report.report])
    if plan == nil {
      _ = try target.target()
      if data == nil { throw ValidationError("--data is needed to choose bits") }
    } else {
      try refuse(
        target.given + method.settled + given([("--seed", effort.seed != nil)]), because: "settled by --plan, leave it out")
      if data == nil { try refuse(effort.ofSamples + report.extras, because: "needs --data") }
    }
  }

  func run() throws {
    let started = monotonicSeconds()
    let monitor = Monitor(quiet: show.quiet)
    let files = try RunFiles(
      reads: [("the model", input), ("--data", data), ("--plan", plan)],
      writes: [("the output", output, .model), ("--report", report.report, .report)], force: overwrite.force)
    let model = try files.model(input)
    let calibration = try data.map(files.calibration)
    let bitPlan = try makePlan(files, model, calibration, monitor)
    try Interrupt.check()
    let quantized = try Quantized(model, calibration, bitPlan, try quantizeOptions(method, effort, monitor))
    monitor.finish()
    let done = try Plan.carriedOut(in: quantized)
    monitor.note(try done.notes())
    let outcome = try Outcome(
      command: "compress", input: input, output: output, plan: done, notes: monitor.notes,
      seconds: monotonicSeconds() - started)
    let encoding = method.encoding?.followingPlan ?? 0
    if let path = report.report {
      try files.stage(makeReport(outcome, model, calibration, done, quantized, encoding, monitor).html, as: path)
    }
    if output == "-" {
      try files.complete(output: quantized.bytes(encoding: encoding))
    } else {
      try files.complete(saving: [(output, { try quantized.save($0, encoding: encoding) })])
    }
    try show.show(json: outcome.json(), text: outcome.text(), isTaken: files.takesStandardOutput)
  }

  private func makeReport(
    _ outcome: Outcome, _ model: Model, _ calibration: CalibrationSet?, _ plan: Plan, _ quantized: Quantized, _ encoding: cet_encoding,
    _ monitor: Monitor
  ) throws -> Report {
    var made = Report(input: input, runs: [Report.Run(outcome: outcome)], notes: outcome.notes)
    made.curve = try SizeLossCurve(model, plan)
    if let calibration {
      let written = try WrittenModel(quantized, encoding, of: model, calibration, outcome.totals, threads: effort.threads.number, monitor)
      made.runs[0].agreement = written.agreement
      made.runs[0].sha256 = written.sha256
      made.notes += written.notes
      let others = try report.rivals(model, calibration, method, effort, outcome.totals, monitor)
      made.rivals = others.points
      made.notes += others.notes
      if let count = report.reportSpectrum {
        made.geometry = try Geometry(
          model, calibration, quantized, count: count.value, plan: outcome.totals, keep: method.keep, output: method.lossOutput,
          threads: effort.threads.number, monitor)
      }
    }
    monitor.finish()
    return made
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
    return try withPlanOptions(method, effort, target.target(), monitor) { try Plan.make(model, calibration, $0) }
  }
}
