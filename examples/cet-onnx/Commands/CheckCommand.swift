import ArgumentParser

struct CheckCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "check", abstract: "Load a written file, run it, and compare it with the model it came from.",
    discussion: "Where onnx-judge is installed, libonnx says what it thinks of the file; its word changes no exit code.")

  @Argument(help: ArgumentHelp("The file to check.", valueName: "out.onnx")) var input: String
  @Option(help: ArgumentHelp("The model to compare with; needs --data.", valueName: "in.onnx")) var against: String?
  @Option(help: ArgumentHelp("Samples to run: an .npz file or a folder of .npy files.", valueName: "calib"))
  var data: String?
  @Option(parsing: .unconditional, help: "Fail when an output differs by more than this; not negative.") var tolerance: Double?
  @Option(parsing: .unconditional, help: "Samples run together, 1 or more. (default: what the model fixes, else 32)")
  var batchSize: Count?
  @Option(parsing: .unconditional, help: "Threads, 1 to 1024. (default: as many as there are processors)") var threads: Count?
  @OptionGroup var show: OutputArguments

  func validate() throws {
    if data == nil {
      try refuse(
        given([("--against", against != nil), ("--batch-size", batchSize != nil), ("--threads", threads != nil)]),
        because: "needs --data")
    }
    if tolerance != nil, against == nil { throw ValidationError("--tolerance needs --against") }
    if let tolerance, !(tolerance >= 0) { throw ValidationError("--tolerance \(tolerance): must not be negative") }
  }

  func run() throws {
    let files = try RunFiles(reads: [("the file", input), ("--against", against), ("--data", data)])
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
    if let data {
      let other = try against.map(files.model)
      let comparison = try compare(model, other, files.calibration(data))
      members += comparison.members
      text += comparison.text
      if let tolerance, let worst = comparison.outputs.first(where: { !($0.largestDifference <= tolerance) }) {
        throw Failure(
          "output '\(worst.name)' differs by \(scientific(worst.largestDifference)), more than \(scientific(tolerance))")
      }
    }
    try show.show(json: .object(members), text: text)
  }

  private func compare(_ model: Model, _ other: Model?, _ samples: CalibrationSet) throws -> Comparison {
    var comparison = Comparison(hasReference: other != nil)
    let monitor = Monitor(quiet: show.quiet)
    // Both run the same samples together: as many as one of them fixes, else as many as were asked for.
    let size = try batchSize?.value ?? model.fixedBatchSize() ?? other?.fixedBatchSize() ?? 0
    for batch in 0..<samples.batchCount {
      var first = 0
      while true {
        try Interrupt.check()
        let found = try model.run(samples, batch: batch, first: first, size: size, threads: threads.number)
        guard found.samples > 0 else { break }
        let reference = try other?.run(samples, batch: batch, first: first, size: size, threads: threads.number)
        try comparison.add(found.outputs, reference?.outputs, samples: found.samples)
        first += found.samples
        monitor.show("run", first, samples.sampleCount)
      }
    }
    monitor.finish()
    return comparison
  }
}
