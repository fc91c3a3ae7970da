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
  @Option(help: ArgumentHelp("Write a report that a browser shows.", valueName: "out.html")) var report: String?
  @OptionGroup var show: OutputArguments

  func validate() throws {
    if plan == nil {
      _ = try target.target()
      if data == nil { throw ValidationError("--data is needed to choose bits") }
    } else if target.isGiven {
      throw ValidationError("--plan already has its bits: leave the target out")
    } else if data == nil, method.rounding != .nearest {
      throw ValidationError("--data is needed unless --plan comes with --rounding nearest")
    }
  }

  func run() throws {
    let started = monotonicSeconds()
    let monitor = Monitor(quiet: show.quiet)
    try OutputFiles.checkWritable(output)
    if let report { try OutputFiles.checkWritable(report) }
    let model = try Model(path: input)
    let calibration = try data.map { try CalibrationSet(path: $0) }
    let bitPlan = try makePlan(model, calibration, monitor)
    try Interrupt.check()
    let quantized = try Quantized(model, calibration, bitPlan, try quantizeOptions(method, effort, monitor))
    monitor.finish()
    let done = try Plan.carriedOut(in: quantized)
    monitor.note(try done.notes())
    let outcome = try Outcome(
      command: "compress", input: input, output: output, plan: done, notes: monitor.notes,
      seconds: monotonicSeconds() - started)
    let files = OutputFiles()
    if let report { try files.stage(Report(outcome).html, as: report) }
    try files.complete([(quantized, output)], encoding: method.encoding)
    show.show(json: outcome.json(), text: outcome.text())
  }

  private func makePlan(_ model: Model, _ calibration: CalibrationSet?, _ monitor: Monitor) throws -> Plan {
    if let plan { return try Plan.read(path: plan) }
    guard let calibration else { throw ValidationError("--data is needed to choose bits") }
    return try withPlanOptions(method, effort, target.target(), monitor) { try Plan.make(model, calibration, $0) }
  }
}
