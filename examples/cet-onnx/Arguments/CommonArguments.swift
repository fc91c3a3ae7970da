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

  /// Prints what the run found in the form that was asked for.
  func show(json document: @autoclosure () throws -> JSONText, text: @autoclosure () throws -> String) rethrows {
    if json {
      print(try document().text)
    } else if !quiet {
      print(try text(), terminator: "")
    }
  }
}
