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
  @OptionGroup var overwrite: OverwriteArguments
  @OptionGroup var show: OutputArguments

  func validate() throws {
    try show.check([output, report])
    _ = try target.target()
    if (data == nil) == (from == nil) { throw ValidationError("give either --data or --from") }
    guard from != nil else { return }
    try refuse(
      effort.ofSamples
        + given([
          ("--seed", effort.seed != nil), ("--threads", effort.threads != nil), ("--shifts", method.shifts != nil),
          ("--loss-output", method.lossOutput != nil),
        ]), because: "not used with --from, which runs no samples")
  }

  func run() throws {
    let started = monotonicSeconds()
    let monitor = Monitor(quiet: show.quiet)
    let files = try RunFiles(
      reads: [("the model", input), ("--data", data), ("--from", from)],
      writes: [("--output", output, .plan), ("--report", report, .report)], force: overwrite.force)
    let model = try files.model(input)
    if from == nil { monitor.expect([Stage.planning]) }
    monitor.nextCall()
    let plan = try withPlanOptions(method, effort, target.target(), monitor) { options in
      if let from { return try Plan.make(model, from: files.plan(from), options) }
      return try Plan.make(model, files.calibration(data ?? ""), options)
    }
    monitor.finish()
    monitor.note(try plan.notes())
    let outcome = try Outcome(
      command: "plan", input: input, output: output, plan: plan, notes: monitor.notes,
      seconds: monotonicSeconds() - started)
    try files.stage(plan.json() + "\n", as: output)
    if let report {
      let curve = try SizeLossCurve(model, plan)
      try files.stage(Report(input: input, runs: [Report.Run(outcome: outcome)], curve: curve, notes: outcome.notes).html, as: report)
    }
    try files.complete()
    try show.show(json: outcome.json(), text: outcome.text(), isTaken: files.takesStandardOutput)
  }
}
