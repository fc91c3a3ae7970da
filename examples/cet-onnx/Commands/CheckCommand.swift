import ArgumentParser

struct CheckCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "check", abstract: "Load a written file, run it, and compare it with the model it came from.",
    discussion: "Where onnx-judge is installed, libonnx says what it thinks of the file; its word changes no exit code.")

  @Argument(help: ArgumentHelp("The file to check.", valueName: "out.onnx")) var input: String
  @Option(help: ArgumentHelp("The model to compare with; needs --data.", valueName: "in.onnx")) var against: String?
  @Option(help: ArgumentHelp("Samples to run: an .npz file or a folder of .npy files.", valueName: "calib"))
  var data: String?
  @Option(parsing: .unconditional, help: "Fail when an output differs by more than this; not negative.", transform: decimal)
  var tolerance: Double?
  @Option(parsing: .unconditional, help: "Samples run together, 1 or more. (default: what the model fixes, else 32)", transform: Count.init)
  var batchSize: Count?
  @Option(parsing: .unconditional, help: "Threads, 1 to 1024. (default: as many as there are processors)", transform: Count.init) var threads: Count?
  @Option(help: ArgumentHelp("Write a report that a browser shows.", valueName: "out.html")) var report: String?
  @OptionGroup var overwrite: OverwriteArguments
  @Flag(help: "Run the file in onnxruntime too, with Python's package: latency, and agreement with --against; needs --data.")
  var runtime = false
  @OptionGroup var show: OutputArguments

  func validate() throws {
    try show.check([report])
    if data == nil {
      try refuse(
        given([("--against", against != nil), ("--batch-size", batchSize != nil), ("--threads", threads != nil), ("--runtime", runtime)]),
        because: "needs --data")
    }
    if runtime, [input, data, against].contains("-") { throw ValidationError("--runtime reads its files itself, not '-'") }
    if tolerance != nil, against == nil { throw ValidationError("--tolerance needs --against") }
    if let tolerance, !(tolerance >= 0) { throw ValidationError("--tolerance \(tolerance): must not be negative") }
  }

  func run() throws {
    let files = try RunFiles(
      reads: [("the file", input), ("--against", against), ("--data", data)], writes: [("--report", report, .report)], force: overwrite.force)
    let model = try files.model(input)
    let description = try ModelDescription(model.inspectJSON())
    var members: [(String, JSONText)] = [
      ("command", .string("check")), ("input", .string(input)), ("bytes", .integer(model.byteCount)),
    ]
    let judge = Judge(ofFile: input)
    members += judge.members
    var text = listing([
      ("file", input), ("bytes", grouped(model.byteCount)), ("opset", description.opsetText),
      ("operators", description.operatorText), ("libonnx", judge.text),
    ])
    var document = CheckReport(input: input, bytes: model.byteCount, description: description)
    if let data {
      let other = try against.map(files.model)
      let monitor = Monitor(quiet: show.quiet)
      let samples = try files.calibration(data)
      let comparison = try Comparison.of(
        model, with: other, samples, batchSize: batchSize?.value, threads: threads.number, monitor)
      monitor.finish()
      members += comparison.members
      text += comparison.text
      if let note = description.arithmeticNote {
        members.append(("arithmetic", .string(note)))
        text += "note: \(note)\n"
      }
      if let other {
        document.otherBytes = other.byteCount
        document.agreement = Agreement(comparison)
      }
      if let tolerance, let worst = comparison.outputs.first(where: { !($0.largestDifference <= tolerance) }) {
        throw Failure(
          "output '\(worst.name)' differs by \(scientific(worst.largestDifference)), more than \(scientific(tolerance))")
      }
      if runtime {
        let found = try StockRuntime.run(input, data: data, against: against, threads: threads.number)
        members.append(("runtime", found.json))
        text += listing(found.lines)
      }
    }
    if let report {
      try files.stage(document.html, as: report)
      try files.complete()
    }
    try show.show(json: .object(members), text: text, isTaken: files.takesStandardOutput)
  }
}
