import ArgumentParser

struct ReportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "report", abstract: "Write a report about a plan, and about the file that came of it.")

  @Argument(help: ArgumentHelp("The model.", valueName: "in.onnx")) var input: String
  @Argument(help: ArgumentHelp("The plan.", valueName: "plan.json")) var plan: String
  @Argument(help: ArgumentHelp("The report, for a browser.", valueName: "out.html")) var output: String
  @Option(help: ArgumentHelp("The compressed model, to compare with the original; needs --data.", valueName: "out.onnx")) var written: String?
  @Option(help: ArgumentHelp("Samples to compare on: an .npz file or a folder of .npy files.", valueName: "calib")) var data: String?
  @Option(parsing: .unconditional, help: "Threads, 1 to 1024. (default: as many as there are processors)", transform: Count.init) var threads: Count?
  @OptionGroup var overwrite: OverwriteArguments
  @Flag(help: "No progress bar.") var quiet = false

  func validate() throws {
    if (written == nil) != (data == nil) { throw ValidationError("--written and --data need each other") }
  }

  func run() throws {
    let started = monotonicSeconds()
    let monitor = Monitor(quiet: quiet)
    let files = try RunFiles(
      reads: [("the model", input), ("the plan", plan), ("--written", written), ("--data", data)],
      writes: [("the report", output, .report)], force: overwrite.force)
    let model = try files.model(input)
    let made = try files.plan(plan)
    let curve = try SizeLossCurve(model, made)
    var run = Report.Run(
      outcome: try Outcome(
        command: "report", input: input, output: written ?? plan, plan: made, notes: try made.notes(), seconds: monotonicSeconds() - started))
    guard try ModelDescription(model.inspectJSON()).sha256 == run.outcome.totals.modelSHA256 else {
      throw Failure("the plan was made for the model with SHA-256 \(run.outcome.totals.modelSHA256), not for '\(input)'")
    }
    if let written, let data {
      let small = try files.model(written)
      run.outcome.written = try WrittenModel(
        small, of: model, files.calibration(data), run.outcome.totals, threads: threads.number, monitor)
    }
    monitor.finish()
    try files.stage(Report(input: input, runs: [run], curve: curve, notes: run.outcome.notes).html, as: output)
    try files.complete()
  }
}
