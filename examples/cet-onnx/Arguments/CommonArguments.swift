import ArgumentParser

struct CalibrationArguments: ParsableArguments {
  @Option(help: ArgumentHelp("Calibration samples: an .npz file or a folder of .npy files.", valueName: "calib"))
  var data: String
}

struct OutputArguments: ParsableArguments {
  @Flag(help: "Print one JSON document instead of tables.")
  var json = false

  @Flag(help: "No progress bar and no tables.")
  var quiet = false

  /// Prints what the run found in the form that was asked for. A wish to stop is too late here: what is written is there.
  /// - Parameter isTaken: standard output has the run's result: a person reads standard error.
  func show(
    json document: @autoclosure () throws -> JSONText, text: @autoclosure () throws -> String, isTaken: Bool = false
  ) throws {
    if isTaken {
      if !quiet { writeError(try text()) }
    } else if json {
      print(try document().text)
    } else if !quiet {
      print(try text(), terminator: "")
    }
  }

  /// Standard output has room for one thing.
  func check(_ outputs: [String?]) throws {
    if json, outputs.contains("-") { throw ValidationError("--json and an output '-' both take standard output") }
  }
}

/// A number as people write it: hexadecimal ones, which Swift reads too, are slips.
func decimal(_ text: String) throws -> Double {
  guard text.allSatisfy({ $0.isASCII && ($0.isNumber || "+-.eE".contains($0)) }), let number = Double(text), number.isFinite else {
    throw ValidationError("expected a number, got '\(text)'")
  }
  return number
}

struct OverwriteArguments: ParsableArguments {
  @Flag(help: "Replace existing files that libcet did not write.")
  var force = false
}

/// Options that were given although nothing would come of them.
func refuse(_ options: [String], because reason: String) throws {
  guard !options.isEmpty else { return }
  throw ValidationError("\(options.joined(separator: ", ")): \(reason)")
}

/// The names of options that have a value.
func given(_ options: [(name: String, isGiven: Bool)]) -> [String] { options.filter(\.isGiven).map(\.name) }
