import ArgumentParser
import CCet

struct SpectrumCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "spectrum", abstract: "Eigenvalues of the loss's curvature, with residual norms.")

  @Argument(help: ArgumentHelp("The model.", valueName: "in.onnx")) var input: String
  @OptionGroup var data: CalibrationArguments
  @Option(
    name: .customShort("k"), parsing: .unconditional,
    help: ArgumentHelp("Eigenpairs, 1 or more. (default: 20)", valueName: "count"), transform: Count.init)
  var count: Count?
  @Option(help: "Which end of the spectrum.") var which: Which = .largestMagnitude
  @Option(help: "The loss. (default: cross-entropy with labels, else kl or mse)") var loss: Loss?
  @Option(help: "The curvature. (default: hessian)") var curvature: CurvatureKind?
  @Option(parsing: .unconditional, help: "Residual norm relative to the pair's |eigenvalue|. (default: 1e-3, bfloat16: 1e-2)",
    transform: decimal)
  var tolerance: Double?
  @Option(parsing: .unconditional, help: "Hessian-vector products at most. (default: chosen by the library)", transform: Count.init)
  var maxApplies: Count?
  @Option(
    parsing: .unconditionalSingleValue,
    help: ArgumentHelp("Only these tensors: their diagonal block; * and ? match. Repeatable.", valueName: "pattern"))
  var tensor: [String] = []
  @Flag(help: "The pairs of every tensor's own diagonal block.") var perTensor = false
  @Flag(help: "Also the trace, with its standard error.") var trace = false
  @Flag(help: "Also the density of all eigenvalues.") var density = false
  @Option(parsing: .unconditional, help: "Random vectors for --trace and --density. (default: 32 and 8)", transform: Count.init) var probes: Count?
  @Option(help: ArgumentHelp("Write the pairs with their vectors.", valueName: "file")) var save: String?
  @Option(help: ArgumentHelp("Start from saved pairs of the same tensors.", valueName: "file")) var initial: String?
  @Option(help: ArgumentHelp("File that an interrupted run goes on from.", valueName: "file")) var state: String?
  @Option(parsing: .unconditional, help: "Vectors multiplied at once. (default: 1)", transform: Count.init) var blockSize: Count?
  @Option(help: "What basis vectors are stored as. (default: float32, or bfloat16 where memory is short)") var basisType: BasisType?
  @Option(help: ArgumentHelp("Folder for the basis as a memory-mapped file. (default: in memory)", valueName: "folder"))
  var basisPath: String?
  @Option(help: ArgumentHelp("Graph output that the loss reads. (default: the first)", valueName: "name"))
  var lossOutput: String?
  @OptionGroup(title: "Effort") var effort: EffortArguments
  @OptionGroup var overwrite: OverwriteArguments
  @OptionGroup var show: OutputArguments

  func validate() throws {
    if let tolerance, !(tolerance > 0 && tolerance < 1) {
      throw ValidationError("--tolerance \(tolerance): expected a number between 0 and 1")
    }
    if save == "-" || state == "-" || initial == "-" {
      throw ValidationError("--save, --initial and --state take a file, not '-'")
    }
    if !trace, !density { try refuse(given([("--probes", probes != nil)]), because: "needs --trace or --density") }
    guard perTensor else { return }
    try refuse(
      given([
        ("--trace", trace), ("--density", density), ("--save", save != nil), ("--initial", initial != nil),
        ("--state", state != nil),
      ]), because: "does not go with --per-tensor")
  }

  func run() throws {
    let started = monotonicSeconds()
    let monitor = Monitor(quiet: show.quiet)
    let files = try RunFiles(
      reads: [("the model", input), ("--data", data.data), ("--initial", initial)],
      writes: [("--save", save, .spectrum), ("--state", state, .state)], force: overwrite.force)
    let model = try files.model(input)
    let calibration = try files.calibration(data.data)
    if perTensor { return try showTensors(model, calibration, monitor, started) }
    let operatorHandle = try makeCurvature(model, calibration, monitor, only: tensor)
    monitor.note(try operatorHandle.notes())
    let lossValue = try operatorHandle.loss()
    let gradientNorm = try operatorHandle.gradientNorm()
    try Interrupt.check()
    let spectrum = try solve(operatorHandle, monitor)
    let traceValue = trace ? try operatorHandle.trace(estimateOptions(monitor, samples: 32)) : nil
    let densityValue = density ? try operatorHandle.density(estimateOptions(monitor, samples: 8), points: 200) : nil
    monitor.finish()
    let info = try spectrum.info()
    let pairs = try spectrum.pairs()
    try files.complete(saving: save.map { [($0, { try spectrum.save($0) })] } ?? [])
    let seconds = monotonicSeconds() - started
    var figures: [(String, JSONText)] = [
      ("dimension", .integer(info.dimension)), ("which", .string(Which.word(info.which))),
      ("loss", .number(lossValue)), ("gradient_norm", .number(gradientNorm)),
      ("converged", .integer(info.converged_count)), ("applies", .integer(info.applies)),
      ("restarts", .integer(info.restarts)), ("krylov_dimension", .integer(info.krylov_dimension)),
      ("tolerance", .number(info.tolerance)), ("seconds", .number(seconds)),
    ]
    if let traceValue {
      figures += [("trace", .number(traceValue.trace)), ("trace_standard_error", .number(traceValue.standardError))]
    }
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
      ] + (densityValue.map { [("density", self.document(of: $0))] } ?? []))
    try show.show(
      json: document,
      text: table(pairs) + "\n" + (densityValue.map { table($0) + "\n" } ?? "")
        + listing(figures.map { ($0.0.split(separator: "_").joined(separator: " "), plain($0.1)) })
        + monitor.notes.map { "note: \($0)\n" }.joined())
  }

  /// The largest pairs of every diagonal block, tensor by tensor.
  private func showTensors(
    _ model: Model, _ calibration: CalibrationSet, _ monitor: Monitor, _ started: Double
  ) throws {
    var rows: [JSONText] = []
    var table = Table([
      ("tensor", .left), ("node", .left), ("op", .left), ("weights", .right), ("eigenvalues", .left), ("residual", .left),
    ])
    let description = try ModelDescription(model.inspectJSON())
    let selected = try tensor.isEmpty ? nil : makeCurvature(model, calibration, monitor, only: tensor).parameterNames()
    for (name, size) in try model.parameters() where selected?.contains(name) ?? true {
      try Interrupt.check()
      let block = try makeCurvature(model, calibration, monitor, only: [name])
      monitor.note(try block.notes())
      let spectrum = try solve(block, monitor)
      let pairs = try spectrum.pairs()
      let (node, operatorType) = description.reader(of: name)
      rows.append(
        .object([
          ("name", .string(name)), ("node", .string(node)), ("operator", .string(operatorType)), ("count", .integer(size)), ("applies", .integer(try spectrum.info().applies)),
          ("eigenvalues", .array(pairs.map { .number($0.value) })),
          ("residual_norms", .array(pairs.map { .number($0.residualNorm) })),
          ("converged", .array(pairs.map { .bool($0.converged) })),
        ]))
      table.add([
        name, node, operatorType, grouped(size), pairs.prefix(3).map { String(format: "%.3g", $0.value) }.joined(separator: " "),
        String(format: "%.1e", pairs.map(\.residualNorm).max() ?? 0) + (pairs.allSatisfy(\.converged) ? "" : ", not converged"),
      ])
    }
    monitor.finish()
    try show.show(
      json: .object([
        ("command", .string("spectrum")), ("input", .string(input)), ("which", .string(which.rawValue)),
        ("seconds", .number(monotonicSeconds() - started)), ("notes", .array(monitor.notes.map { .string($0) })),
        ("tensors", .array(rows)),
      ]),
      text: table.text + monitor.notes.map { "note: \($0)\n" }.joined())
  }

  private var wanted: UInt32 { count?.value ?? 20 }

  private func solve(_ curvature: Curvature, _ monitor: Monitor) throws -> Spectrum {
    let start = try initial.map { try Spectrum.read(path: $0) }
    return try withCStrings([basisPath ?? "", state ?? ""]) { paths in
      var options = try solveOptions(monitor)
      options.count = UInt32(clamping: min(UInt64(wanted), UInt64(curvature.dimension)))
      options.total_max_memory = memoryLimit
      if basisPath != nil { options.basis_path = paths[0] }
      if state != nil { options.state_path = paths[1] }
      options.initial = start?.handle
      return try withExtendedLifetime(start) { try curvature.eigensolve(options) }
    }
  }

  private func estimateOptions(_ monitor: Monitor, samples: UInt32) throws -> cet_estimate_options {
    var options: cet_estimate_options = try initialized(cet_estimate_options_init)
    options.threads = effort.threads.number
    options.samples = probes?.value ?? samples
    options.steps = 40
    options.seed = effort.seed ?? 0
    options.progress = Monitor.progress
    options.log = Monitor.log
    options.user_data = monitor.userData
    return options
  }

  private func document(of density: DensityValues) -> JSONText {
    .object([
      ("width", .number(density.width)), ("points", .array(density.points.map { .number($0.value) })),
      ("density", .array(density.points.map { .number($0.density) })),
      ("standard_error", .array(density.points.map { .number($0.standardError) })),
    ])
  }

  private func table(_ density: DensityValues) -> String {
    var table = Table([("eigenvalue", .right), ("density", .right), ("standard error", .right)])
    for index in stride(from: 0, to: density.points.count, by: max(1, density.points.count / 20)) {
      let point = density.points[index]
      table.add([String(format: "%.4g", point.value), scientific(point.density), scientific(point.standardError)])
    }
    return table.text
  }

  /// --max-memory less what the program takes beside curvature and basis: its code, and gaps of the allocator.
  private var memoryLimit: UInt64 { effort.maxMemory.map { $0.bytes - min($0.bytes / 32, 512 << 20) } ?? 0 }

  private func makeCurvature(
    _ model: Model, _ calibration: CalibrationSet, _ monitor: Monitor, only: [String]
  ) throws -> Curvature {
    var options: cet_curvature_options = try initialized(cet_curvature_options_init)
    options.threads = effort.threads.number
    options.loss = loss.code
    options.curvature = curvature.code
    options.samples = UInt64(effort.samples.number)
    options.max_memory = memoryLimit
    options.batch_size = effort.batchSize.number
    options.progress = Monitor.progress
    options.log = Monitor.log
    options.user_data = monitor.userData
    return try withCStrings([lossOutput ?? ""] + only) { texts in
      if lossOutput != nil { options.output = texts[0] }
      options.only_patterns = texts.baseAddress.map { $0 + 1 }
      options.only_count = UInt64(only.count)
      return try Curvature(model, calibration, options)
    }
  }

  private func solveOptions(_ monitor: Monitor) throws -> cet_eigensolve_options {
    var options: cet_eigensolve_options = try initialized(cet_eigensolve_options_init)
    options.threads = effort.threads.number
    options.count = wanted
    options.which = which.code
    options.tolerance = tolerance ?? 0
    options.max_applies = maxApplies.number
    options.block_size = blockSize.number
    options.basis_type = basisType.code
    options.seed = effort.seed ?? 0
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
