import ArgumentParser

struct InspectCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect",
    abstract: "Operators, parameters, which have exact second-derivative rules, the smallest reachable size.")

  @Argument(help: ArgumentHelp("The model.", valueName: "in.onnx")) var input: String
  @Flag(help: "Say which runtimes open the file.") var runtimes = false
  @OptionGroup var show: OutputArguments

  func run() throws {
    let document = try RunFiles(reads: [("the model", input)]).model(input).inspectJSON()
    try Interrupt.check()
    try show.show(json: .document(document), text: try ModelDescription(document).text(withRuntimes: runtimes))
  }
}
