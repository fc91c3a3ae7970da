import ArgumentParser
import CCet
import Glibc

/// ONNX in, small ONNX out: a client of cet/cet.h and of nothing else of the library.
@main
struct Tool: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "cet-onnx",
    abstract: "Compresses the weights of an ONNX model to 1 to 8 bits a weight.",
    discussion: """
      CALIB is an .npz file whose arrays carry the model's input names, with optional `labels`, or a folder of .npy \
      files with those names. `-` stands for standard input, and as an output for standard output. Exit codes: 0 ok, \
      2 bad usage, 130 and 143 after Ctrl-C and SIGTERM, 1 any other failure.
      """,
    version: "cet-onnx with libcet \(String(cString: cet_version_string()))",
    subcommands: [
      CompressCommand.self, PlanCommand.self, SweepCommand.self, InspectCommand.self, SpectrumCommand.self,
      CheckCommand.self, ReportCommand.self, WhyCommand.self, DiffCommand.self,
    ])

  static func main() {
    // A reader that went away (`| head`) is told from other errors, and files are put back before the tool ends.
    signal(SIGPIPE, SIG_IGN)
    signal(SIGXFSZ, SIG_IGN)
    let arguments = Array(CommandLine.arguments.dropFirst())
    guard !arguments.isEmpty else {
      writeError(helpMessage() + "\n")
      end(2)
    }
    do {
      try checkCommand(arguments[0])
      var command = try parseAsRoot()
      Interrupt.install()
      try command.run()
      try flushStandardOutput()
    } catch {
      if exitCode(for: error).isSuccess, !(error is Failure) {
        print(fullMessage(for: error))
        end((try? flushStandardOutput()) == nil ? 1 : 0)
      }
      end(Ending(error, arguments).show())
    }
    end(0)
  }

  /// Ends without taking down what the libraries set up: OpenBLAS would wait for a thread of its own, which under a limit on
  /// addresses waits for memory for ever.
  private static func end(_ code: Int32) -> Never {
    fflush(nil)
    _exit(code)
  }

  static var commands: [String] { configuration.subcommands.compactMap { $0.configuration.commandName } }

  /// The parser would take an unknown word for a stray argument.
  private static func checkCommand(_ word: String) throws {
    guard !word.hasPrefix("-"), word != "help", !commands.contains(word) else { return }
    let likely = nearest(to: word, among: commands).map { ": did you mean '\($0)'?" } ?? ""
    throw Failure(usage: "unknown command '\(word)'\(likely) (commands: \(commands.joined(separator: ", ")))")
  }
}
