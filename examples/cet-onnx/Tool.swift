import ArgumentParser
import CCet
import Glibc

/// ONNX in, small ONNX out: a client of cet/cet.h and of nothing else of the library.
@main
struct Tool: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "cet-onnx",
    abstract: "Compresses the weights of an ONNX model to 2, 3, 4 or 8 bits.",
    discussion: """
      CALIB is an .npz file whose arrays carry the model's input names, with optional `labels`, or a folder of .npy \
      files with those names. Exit codes: 0 ok, 2 bad usage, 1 any other failure.
      """,
    version: "cet-onnx with libcet \(String(cString: cet_version_string()))",
    subcommands: [
      CompressCommand.self, PlanCommand.self, SweepCommand.self, InspectCommand.self, SpectrumCommand.self,
      CheckCommand.self,
    ])

  static func main() {
    // A reader that went away (`| head`) ends the tool like any other write error, not by a signal.
    signal(SIGPIPE, SIG_IGN)
    guard CommandLine.arguments.count > 1 else {
      writeError(helpMessage() + "\n")
      Glibc.exit(2)
    }
    do {
      var command = try parseAsRoot()
      Interrupt.install()
      try command.run()
      try flushStandardOutput()
    } catch let failure as Failure {
      Glibc.exit(fail(failure.message))
    } catch {
      let code = exitCode(for: error)
      if code.isSuccess {
        print(fullMessage(for: error))
        Glibc.exit(0)
      }
      guard code == .validationFailure else { Glibc.exit(fail("\(error)")) }
      writeError(fullMessage(for: error) + "\n")
      Glibc.exit(2)
    }
  }

  /// One line on standard error; the exit code that goes with it.
  private static func fail(_ message: String) -> Int32 {
    let line = message.split(whereSeparator: \.isNewline).joined(separator: " ")
    writeError("cet-onnx: \(line)\n")
    return 1
  }
}

/// Why a run ends without its result, in one line.
struct Failure: Error {
  var message: String

  init(_ message: String) { self.message = message }

  /// What the last call of the library said about its status.
  init(status: cet_status) {
    let detail = String(cString: cet_last_error_message())
    message = detail.isEmpty ? String(cString: cet_status_string(status)) : detail
  }
}
