import ArgumentParser
import CCet

/// What a report may measure beyond what the run does anyway.
struct ReportArguments: ParsableArguments {
  @Option(help: ArgumentHelp("Write a report that a browser shows.", valueName: "out.html")) var report: String?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Also so many eigenpairs of the loss's curvature, its density and the interactions of tensors, on up to 64 samples.",
      valueName: "pairs"), transform: Count.init)
  var reportSpectrum: Count?

  @Option(
    help: ArgumentHelp(
      "Also plans of these methods at the same bytes, which takes as long as planning does for each.", valueName: "method,..."),
    transform: MethodList.init)
  var reportMethods: MethodList?

  var extras: [String] { given([("--report-spectrum", reportSpectrum != nil), ("--report-methods", reportMethods != nil)]) }

  func validate() throws {
    if report == nil { try refuse(extras, because: "needs --report") }
  }

  /// What the library is called for beyond the run itself.
  var stages: [[Stage]] {
    (reportMethods?.values ?? []).map { _ in Stage.planning } + (reportSpectrum.map { [Stage.spectrum(pairs: Double($0.value))] } ?? [])
  }

  /// Plans of other methods within the same bytes. A method that cannot is told in a note.
  func rivals(
    _ model: Model, _ data: CalibrationSet, _ method: MethodArguments, _ effort: EffortArguments, _ plan: PlanTotals,
    _ monitor: Monitor
  ) throws -> (points: [CurvePoint], notes: [String]) {
    var found: (points: [CurvePoint], notes: [String]) = ([], [])
    for other in reportMethods?.values ?? [] {
      try Interrupt.check()
      monitor.nextCall()
      if other.rawValue == plan.method { continue }
      var asked = method
      asked.method = other
      monitor.title = other.rawValue
      do {
        let made = try withPlanOptions(asked, effort, Target(size: plan.fileBytes), monitor) { try Plan.make(model, data, $0) }
        if let point = CurvePoint(try made.totals(), label: other.rawValue) { found.points.append(point) }
      } catch let failure as Failure where failure.kind == .failed {
        found.notes.append("Method \(other.rawValue) is not in the figure: \(failure.message).")
      }
    }
    monitor.title = ""
    return found
  }
}

/// Methods with commas between them.
struct MethodList {
  var values: [Method] = []

  init(_ argument: String) throws {
    for part in argument.split(separator: ",", omittingEmptySubsequences: false) {
      guard let method = Method(rawValue: String(part)) else {
        throw ValidationError("expected \(Method.allCases.map(\.rawValue).joined(separator: ", ")), got '\(part)'")
      }
      values.append(method)
    }
  }
}
