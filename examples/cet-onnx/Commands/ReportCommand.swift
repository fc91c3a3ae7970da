import ArgumentParser

struct ReportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "report", abstract: "Write a report about a plan as it is, without model and samples.")

  @Argument(help: ArgumentHelp("The plan.", valueName: "plan.json")) var plan: String
  @Argument(help: ArgumentHelp("The report, which a browser shows.", valueName: "out.html")) var output: String
  @Option(help: ArgumentHelp("What the report calls the model. (default: the plan's file)", valueName: "name"))
  var title: String?
  @OptionGroup var overwrite: OverwriteArguments

  func run() throws {
    let started = monotonicSeconds()
    let files = try RunFiles(
      reads: [("the plan", plan)], writes: [("the report", output, .report)], force: overwrite.force)
    let read = try files.plan(plan)
    let outcome = try Outcome(
      command: "report", input: title ?? plan, output: output, plan: read, notes: read.notes(),
      seconds: monotonicSeconds() - started)
    try files.stage(Report(outcome).html, as: output)
    try files.complete()
  }
}
