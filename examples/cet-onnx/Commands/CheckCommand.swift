import ArgumentParser

struct CheckCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "check", abstract: "Load a written file, run it, and compare it with the model it came from.")

  @Argument(help: ArgumentHelp("The file to check.", valueName: "out.onnx")) var input: String
  @Option(help: ArgumentHelp("The model to compare with; needs --data.", valueName: "in.onnx")) var against: String?
  @Option(help: ArgumentHelp("Samples to run: an .npz file or a folder of .npy files.", valueName: "calib"))
  var data: String?
  @Option(help: "Fail when an output differs by more than this.") var tolerance: Double?
  @Option(help: "Samples run together, unless the model fixes that.") var batchSize: UInt32 = 32
  @Option(help: "Threads. (default: as many as there are processors)") var threads: UInt32?
  @OptionGroup var show: OutputArguments

  func validate() throws {
    if against != nil, data == nil { throw ValidationError("--against needs --data") }
    if tolerance != nil, against == nil { throw ValidationError("--tolerance needs --against") }
    if let tolerance, !(tolerance >= 0) { throw ValidationError("--tolerance must not be negative") }
    if batchSize == 0 { throw ValidationError("--batch-size must be at least 1") }
  }

  func run() throws {
    let model = try Model(path: input)
    let description = try ModelDescription(model.inspectJSON())
    var members: [(String, JSONText)] = [
      ("command", .string("check")), ("input", .string(input)), ("bytes", .integer(try fileSize(input))),
    ]
    var text = listing([
      ("file", input), ("bytes", grouped(try fileSize(input))), ("opset", description.opsetText),
      ("operators", description.operatorText),
    ])
    if let data {
      let other = try against.map { try Model(path: $0) }
      let comparison = try compare(model, other, CalibrationSet(path: data))
      members += comparison.members
      text += comparison.text
      if let tolerance, let worst = comparison.outputs.first(where: { !($0.largestDifference <= tolerance) }) {
        throw Failure(
          "output '\(worst.name)' differs by \(scientific(worst.largestDifference)), more than \(scientific(tolerance))")
      }
    }
    show.show(json: .object(members), text: text)
  }

  private func compare(_ model: Model, _ other: Model?, _ samples: CalibrationSet) throws -> Comparison {
    var comparison = Comparison(hasReference: other != nil)
    let inputs = try model.inputs()
    // A model that fixes its batch takes just that.
    let size = inputs.lazy.compactMap(\.samples).first ?? Int(batchSize)
    let monitor = Monitor(quiet: show.quiet)
    for batch in 0..<samples.batchCount {
      let slices = try samples.slices(of: batch, inputs: inputs.map(\.name), size: size)
      for (index, slice) in slices.enumerated() {
        try Interrupt.check()
        try comparison.add(
          model.run(slice, threads: threads ?? 0), other?.run(slice, threads: threads ?? 0),
          samples: slice.first?.samples ?? 0)
        monitor.show("run", index + 1, slices.count)
      }
    }
    return comparison
  }
}
