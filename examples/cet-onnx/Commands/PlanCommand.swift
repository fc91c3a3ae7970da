import ArgumentParser
import CCet

struct PlanCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "plan", abstract: "Choose bits and write the plan, but no model.")

  @Argument(help: ArgumentHelp("The model.", valueName: "in.onnx")) var input: String
  @Option(help: ArgumentHelp("Calibration samples: an .npz file or a folder of .npy files.", valueName: "calib"))
  var data: String?
  @OptionGroup(title: "Target (exactly one)") var target: TargetArguments
  @OptionGroup(title: "Method") var method: MethodArguments
  @OptionGroup(title: "Effort") var effort: EffortArguments
  @Option(
    help: ArgumentHelp(
      "Plan again from the sensitivity table of this plan, without calibration data.", valueName: "plan.json"))
  var from: String?
  @Option(name: .shortAndLong, help: ArgumentHelp("Where to write the plan.", valueName: "plan.json"))
  var output: String
  @Option(help: ArgumentHelp("Write a report that a browser shows.", valueName: "out.html")) var report: String?
  @OptionGroup var show: OutputArguments

  func validate() throws {
    _ = try target.target()
    if (data == nil) == (from == nil) { throw ValidationError("give either --data or --from") }
  }

  func run() throws {
    let started = monotonicSeconds()
    let monitor = Monitor(quiet: show.quiet)
    try OutputFiles.checkWritable(output)
    if let report { try OutputFiles.checkWritable(report) }
    let model = try Model(path: input)
    let plan = try withPlanOptions(method, effort, target.target(), monitor) { options in
      if let from { return try Plan.make(model, from: Plan.read(path: from), options) }
      return try Plan.make(model, CalibrationSet(path: data ?? ""), options)
    }
    monitor.finish()
    monitor.note(try plan.notes())
    let outcome = try Outcome(
      command: "plan", input: input, output: output, plan: plan, notes: monitor.notes,
      seconds: monotonicSeconds() - started)
    let files = OutputFiles()
    try files.stage(plan.json() + "\n", as: output)
    if let report { try files.stage(Report(outcome).html, as: report) }
    try files.complete([], encoding: nil)
    show.show(json: outcome.json(), text: outcome.text())
  }
}
