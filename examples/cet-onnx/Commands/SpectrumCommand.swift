import ArgumentParser
import CCet

struct SpectrumCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "spectrum", abstract: "Eigenvalues of the loss's curvature, with residual norms.")

  @Argument(help: ArgumentHelp("The model.", valueName: "in.onnx")) var input: String
  @OptionGroup var data: CalibrationArguments
  @Option(name: .customShort("k"), help: ArgumentHelp("Eigenpairs.", valueName: "count")) var count: UInt32 = 20
  @Option(help: "Which end of the spectrum.") var which: Which = .largestMagnitude
  @Option(help: "The loss. (default: cross-entropy with labels, else kl or mse)") var loss: Loss?
  @Option(help: "The curvature. (default: hessian)") var curvature: CurvatureKind?
  @Option(help: "Residual norm relative to the pair's |eigenvalue|. (default: 1e-3, bfloat16: 1e-2)")
  var tolerance: Double?
  @Option(help: "Hessian-vector products at most. (default: chosen by the library)") var maxApplies: UInt32?
  @Option(help: "Vectors multiplied at once. (default: 1)") var blockSize: UInt32?
  @Option(help: "What basis vectors are stored as. (default: float32)") var basisType: BasisType?
  @Option(help: ArgumentHelp("Folder for the basis as a memory-mapped file. (default: in memory)", valueName: "folder"))
  var basisPath: String?
  @Option(help: ArgumentHelp("Graph output that the loss reads. (default: the first)", valueName: "name"))
  var lossOutput: String?
  @OptionGroup(title: "Effort") var effort: EffortArguments
  @OptionGroup var show: OutputArguments

  func validate() throws {
    if count == 0 { throw ValidationError("-k must be at least 1") }
    if let tolerance, !(tolerance > 0 && tolerance.isFinite) {
      throw ValidationError("--tolerance must be a positive number")
    }
  }

  func run() throws {
    let started = monotonicSeconds()
    let monitor = Monitor(quiet: show.quiet)
    let model = try Model(path: input)
    let calibration = try CalibrationSet(path: data.data)
    let operatorHandle = try makeCurvature(model, calibration)
    let lossValue = try operatorHandle.loss()
    let gradientNorm = try operatorHandle.gradientNorm()
    try Interrupt.check()
    let spectrum = try withCStrings(basisPath.map { [$0] } ?? []) { paths in
      var options = try solveOptions(monitor)
      options.basis_path = paths.first ?? nil
      return try operatorHandle.eigensolve(options)
    }
    monitor.finish()
    let info = try spectrum.info()
    let pairs = try spectrum.pairs()
    let seconds = monotonicSeconds() - started
    let figures: [(String, JSONText)] = [
      ("dimension", .integer(info.dimension)), ("which", .string(Which.word(info.which))),
      ("loss", .number(lossValue)), ("gradient_norm", .number(gradientNorm)),
      ("converged", .integer(info.converged_count)), ("applies", .integer(info.applies)),
      ("restarts", .integer(info.restarts)), ("krylov_dimension", .integer(info.krylov_dimension)),
      ("tolerance", .number(info.tolerance)), ("seconds", .number(seconds)),
    ]
    let document = JSONText.object(
      [("command", .string("spectrum")), ("input", .string(input))] + figures + [
        ("notes", .array(monitor.notes.map { .string($0) })),
        (
          "pairs",
          .array(
            pairs.map {
              .object([
                ("eigenvalue", .number($0.value)), ("residual_norm", .number($0.residualNorm)),
                ("converged", .bool($0.converged)),
              ])
            })
        ),
      ])
    show.show(
      json: document,
      text: table(pairs) + "\n"
        + listing(figures.map { ($0.0.split(separator: "_").joined(separator: " "), plain($0.1)) })
        + monitor.notes.map { "note: \($0)\n" }.joined())
  }

  private func makeCurvature(_ model: Model, _ calibration: CalibrationSet) throws -> Curvature {
    var options: cet_curvature_options = try initialized(cet_curvature_options_init)
    options.threads = effort.threads ?? 0
    options.loss = loss.code
    options.curvature = curvature.code
    options.samples = effort.samples ?? 0
    options.max_memory = effort.maxMemory?.bytes ?? 0
    options.batch_size = effort.batchSize ?? 0
    return try withCStrings(lossOutput.map { [$0] } ?? []) { output in
      options.output = output.first ?? nil
      return try Curvature(model, calibration, options)
    }
  }

  private func solveOptions(_ monitor: Monitor) throws -> cet_eigensolve_options {
    var options: cet_eigensolve_options = try initialized(cet_eigensolve_options_init)
    options.threads = effort.threads ?? 0
    options.count = count
    options.which = which.code
    options.tolerance = tolerance ?? 0
    options.max_applies = maxApplies ?? 0
    options.block_size = blockSize ?? 0
    options.basis_type = basisType.code
    options.seed = effort.seed
    options.progress = Monitor.progress
    options.log = Monitor.log
    options.user_data = monitor.userData
    return options
  }

  private func table(_ pairs: [(value: Double, residualNorm: Double, converged: Bool)]) -> String {
    var table = Table([("pair", .right), ("eigenvalue", .right), ("residual norm", .right), ("converged", .left)])
    for (index, pair) in pairs.enumerated() {
      table.add([
        String(index + 1), String(format: "%.6g", pair.value), scientific(pair.residualNorm),
        pair.converged ? "yes" : "no",
      ])
    }
    return table.text
  }

  private func plain(_ value: JSONText) -> String {
    switch value {
    case .string(let text): text
    case .integer(let number): grouped(number)
    case .number(let number): String(format: "%.6g", number)
    default: value.text
    }
  }
}
