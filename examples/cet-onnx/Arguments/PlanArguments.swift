import ArgumentParser
import CCet

/// What a plan aims at.
struct Target {
  var ratio = 0.0
  var bits = 0.0
  var size: UInt64 = 0
  var maxLoss = 0.0
}

struct TargetArguments: ParsableArguments {
  @Option(parsing: .unconditional, help: "32 / mean code bits over the planned weights; scales are not counted.", transform: decimal)
  var targetRatio: Double?

  @Option(parsing: .unconditional, help: "Bytes of the written file, everything counted; units kB, MB, GB, KiB, MiB, GiB.", transform: ByteSize.init)
  var targetSize: ByteSize?

  @Option(parsing: .unconditional, help: "Mean code bits over the planned weights.", transform: decimal)
  var targetBits: Double?

  @Option(
    parsing: .unconditional,
    help: "The smallest plan whose loss change on held-out samples is at most this with 95 % confidence.",
    transform: decimal)
  var maxLoss: Double?

  var given: [String] {
    cet_onnx.given([
      ("--target-ratio", targetRatio != nil), ("--target-size", targetSize != nil), ("--target-bits", targetBits != nil),
      ("--max-loss", maxLoss != nil),
    ])
  }

  func validate() throws {
    for (name, value) in [("--target-ratio", targetRatio), ("--target-bits", targetBits), ("--max-loss", maxLoss)] {
      if let value, !(value > 0 && value.isFinite) { throw ValidationError("\(name) \(value): expected a positive number") }
    }
    guard given.count <= 1 else {
      throw ValidationError("give one target, not \(given.joined(separator: " and "))")
    }
  }

  func target() throws -> Target {
    guard !given.isEmpty else {
      throw ValidationError("give one of --target-ratio, --target-size, --target-bits, --max-loss")
    }
    return Target(ratio: targetRatio ?? 0, bits: targetBits ?? 0, size: targetSize?.bytes ?? 0, maxLoss: maxLoss ?? 0)
  }
}

struct MethodArguments: ParsableArguments {
  @Option(parsing: .unconditional, help: "Allowed bits, 1 to 8, with commas between them. (default: 1,2,3,4,5,6,8, without trellis codes 2,3,4,8)", transform: BitSet.init)
  var bits: BitSet?

  @Option(help: "How bits are chosen. (default: cet)")
  var method: Method?

  @Option(help: "The loss whose change counts. (default: kl, or mse when the output is no logits)")
  var loss: Loss?

  @Option(help: "The curvature that methods with Hessian-vector products use. (default: hessian)")
  var curvature: CurvatureKind?

  @Option(help: "How weights become codes. (default: compensated)")
  var rounding: Rounding?

  @Option(help: "How many weights share one scale. (default: per-axis)")
  var granularity: Granularity?

  @Option(help: "How codes are written: packed bits that every runtime unpacks, DequantizeLinear, onnxruntime's own operators, or what min-runtime has. (default: planes)")
  var encoding: Encoding?

  @Option(help: ArgumentHelp("The oldest runtime that the file must open in: ort-1.20 or later, openvino-2026.", valueName: "runtime"))
  var minRuntime: String?

  @Option(help: "What codes stand for; auto takes the coding of less error where the encoding holds both, with rounding nearest affine; symmetric codes are signed integers without zero points. (default: auto)")
  var coding: Coding?

  @Option(help: "How long trellis codes are searched for: by 8, 32 or 128 paths in large tensors. (default: medium)")
  var effort: Effort?

  @Option(
    parsing: .unconditionalSingleValue,
    help: ArgumentHelp(
      """
      Tensors that stay float32, by the name of their initializer or of a node that reads it; * and ? match. name:, node: or op: \
      in front looks at initializers, nodes or operators alone. Repeatable, as all patterns.
      """, valueName: "pattern"))
  var keep: [String] = []

  @Option(
    parsing: .unconditionalSingleValue,
    help: ArgumentHelp("Tensors of these operators stay float32, as --keep op:TYPE. Repeatable.", valueName: "type"))
  var keepOp: [String] = []

  @Option(parsing: .unconditionalSingleValue, help: ArgumentHelp("Tensors with given bits, 1 to 8. Repeatable.", valueName: "pattern=bits"), transform: FixRule.init)
  var fix: [FixRule] = []

  @Option(parsing: .unconditionalSingleValue, help: ArgumentHelp("The fewest bits that tensors may get, 1 to 8; without a pattern all. Repeatable.", valueName: "pattern=bits"), transform: LimitRule.init)
  var minBits: [LimitRule] = []

  @Option(parsing: .unconditionalSingleValue, help: ArgumentHelp("The most bits that tensors may get, 1 to 8; without a pattern all. Repeatable.", valueName: "pattern=bits"), transform: LimitRule.init)
  var maxBits: [LimitRule] = []

  @Option(
    parsing: .unconditionalSingleValue,
    help: ArgumentHelp(
      "Tensors that get the same bits; auto: those that multiply one value, as query, key and value, which runtimes fuse. Repeatable.",
      valueName: "pattern"))
  var group: [String] = []

  @Option(
    help: ArgumentHelp(
      """
      Round activations to so many bits while the model runs: 8 (runtimes then compute with integers), 4 (simulated in float), mixed (4 and 8), or several of 4, 8, 16 and float with commas between them. (default: none is rounded)
      """, valueName: "bits"), transform: ActivationBits.init)
  var activations: ActivationBits?

  @Option(help: "How ranges of activations are found. (default: least-loss)")
  var activationRange: ActivationRange?

  @Option(
    parsing: .unconditional,
    help: "Of several bits of activations the fewest that lose at most this, by the table. (default: as much as the weights)",
    transform: decimal)
  var activationLoss: Double?

  @Option(parsing: .unconditional, help: "Of several bits of activations those of least loss with at most this mean.", transform: decimal)
  var activationMeanBits: Double?

  func validate() throws {
    for (name, value) in [("--activation-loss", activationLoss), ("--activation-mean-bits", activationMeanBits)] {
      if let value, !(value > 0 && value.isFinite) { throw ValidationError("\(name) \(value): expected a positive number") }
    }
    if activationLoss != nil, activationMeanBits != nil {
      throw ValidationError("give one of --activation-loss and --activation-mean-bits")
    }
    let bounds = ofActivations.filter { $0 != "--activations" }
    guard activations != nil || bounds.isEmpty else { throw ValidationError("\(bounds.joined(separator: " and ")): needs --activations") }
  }

  private var ofActivations: [String] {
    cet_onnx.given([
      ("--activations", activations != nil), ("--activation-range", activationRange != nil),
      ("--activation-loss", activationLoss != nil), ("--activation-mean-bits", activationMeanBits != nil),
    ])
  }

  /// Patterns of tensors that stay float32.
  var kept: [String] { keep + keepOp.map { "op:\($0)" } }

  @Option(parsing: .unconditional, help: "Moved copies of every image to round and choose by, 0 to 64. (default: up to 3, none of more than 128 samples)", transform: { try whole($0, 0...64, "a whole number of 0 to 64") })
  var shifts: UInt8?

  @Flag(help: "Put large tensors into one file beside the model, its name with .data behind, also below 2 GiB.")
  var externalData = false

  @Option(help: ArgumentHelp("Graph output that the loss reads. (default: the first)", valueName: "name"))
  var lossOutput: String?

  /// What a plan has settled, of what was given.
  var settled: [String] {
    cet_onnx.given([
      ("--bits", bits != nil), ("--method", method != nil), ("--loss", loss != nil), ("--curvature", curvature != nil),
      ("--granularity", granularity != nil), ("--coding", coding != nil), ("--keep", !keep.isEmpty), ("--keep-op", !keepOp.isEmpty),
      ("--fix", !fix.isEmpty), ("--min-bits", !minBits.isEmpty), ("--max-bits", !maxBits.isEmpty), ("--group", !group.isEmpty),
      ("--shifts", shifts != nil), ("--min-runtime", minRuntime != nil),
      ("--external-data", externalData), ("--loss-output", lossOutput != nil),
    ]) + ofActivations
  }
}

struct EffortArguments: ParsableArguments {
  @Option(parsing: .unconditional, help: "Seed of everything random. (default: 0)", transform: { try whole($0, 0...UInt64.max, "a whole number of 0 or more") })
  var seed: UInt64?

  @Option(parsing: .unconditional, help: "Threads, 1 to 1024. (default: as many as there are processors)", transform: Count.init)
  var threads: Count?

  @Option(parsing: .unconditional, help: "Use the first so many calibration samples, 1 or more. (default: all)", transform: Count.init)
  var samples: Count?

  @Option(parsing: .unconditional, help: "Samples computed together, 1 or more. (default: chosen by the library)", transform: Count.init)
  var batchSize: Count?

  @Option(
    parsing: .unconditional,
    help: """
      Bytes that the run may hold, as for --target-size: beyond model and data, with spectrum all of them. Refused with what is \
      needed where they are too few. (default: what is available, with spectrum 60 % of that)
      """, transform: ByteSize.init)
  var maxMemory: ByteSize?

  /// What matters only where calibration samples are run, of what was given.
  var ofSamples: [String] {
    given([
      ("--samples", samples != nil), ("--batch-size", batchSize != nil), ("--max-memory", maxMemory != nil),
    ])
  }
}

/// Calls `body` with the library's options. The options point into memory that lives for the call only.
func withPlanOptions<Result>(
  _ method: MethodArguments, _ effort: EffortArguments, _ target: Target, _ monitor: Monitor,
  _ body: (cet_plan_options) throws -> Result
) throws -> Result {
  var options: cet_plan_options = try initialized(cet_plan_options_init)
  options.threads = effort.threads.number
  options.target_ratio = target.ratio
  options.target_bits = target.bits
  options.target_size = target.size
  options.max_loss = target.maxLoss
  options.method = method.method.code
  options.loss = method.loss.code
  options.curvature = method.curvature.code
  options.rounding = method.rounding.code
  options.granularity = method.granularity?.code ?? 0
  options.block_size = method.granularity?.blockSize ?? 0
  options.encoding = method.encoding.code
  options.coding = method.coding.code
  options.effort = method.effort.code
  options.bits = method.bits?.mask ?? 0
  options.shifts = method.shifts.map { $0 == 0 ? CET_NO_SHIFTS : Int32($0) } ?? 0
  options.seed = effort.seed ?? 0
  options.samples = UInt64(effort.samples.number)
  options.max_memory = effort.maxMemory?.bytes ?? 0
  options.batch_size = effort.batchSize.number
  options.external_data = method.externalData ? 1 : 0
  options.activation_bits = method.activations?.mask ?? 0
  options.activation_range = method.activationRange.code
  options.activation_loss = method.activationLoss ?? 0
  options.activation_mean_bits = method.activationMeanBits ?? 0
  options.progress = Monitor.progress
  options.log = Monitor.log
  options.user_data = monitor.userData
  var memory = CMemory()
  defer { memory.free() }
  (options.keep_patterns, options.keep_count) = memory.list(method.kept)
  (options.fix_patterns, options.fix_bits, options.fix_count) = memory.rules(method.fix)
  (options.min_patterns, options.min_bits, options.min_count) = memory.rules(method.minBits.map(\.rule))
  (options.max_patterns, options.max_bits, options.max_count) = memory.rules(method.maxBits.map(\.rule))
  (options.group_patterns, options.group_count) = memory.list(method.group)
  options.output = method.lossOutput.map { memory.text($0) }
  options.min_runtime = method.minRuntime.map { memory.text($0) }
  return try body(options)
}

extension CMemory {
  fileprivate mutating func rules(
    _ rules: [FixRule]
  ) -> (UnsafePointer<UnsafePointer<CChar>?>?, UnsafePointer<Int32>?, UInt64) {
    let (patterns, count) = list(rules.map(\.pattern))
    return (patterns, array(rules.map(\.bits)), count)
  }
}

func quantizeOptions(
  _ method: MethodArguments, _ effort: EffortArguments, _ monitor: Monitor
) throws -> cet_quantize_options {
  var options: cet_quantize_options = try initialized(cet_quantize_options_init)
  options.threads = effort.threads.number
  options.rounding = method.rounding.code
  options.encoding = method.encoding?.followingPlan ?? 0
  options.effort = method.effort.code
  options.batch_size = effort.batchSize.number
  options.samples = UInt64(effort.samples.number)
  options.max_memory = effort.maxMemory?.bytes ?? 0
  options.progress = Monitor.progress
  options.log = Monitor.log
  options.user_data = monitor.userData
  return options
}
