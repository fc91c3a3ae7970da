import CetAutodiff
import CetEncode
import CetLayers
import CetMeasure
import CetONNX
import CetQuantize
import CetTensor

public typealias LossKind = CetAutodiff.LossKind
public typealias CurvatureKind = CetAutodiff.CurvatureKind
public typealias Granularity = CetQuantize.Granularity
public typealias Coding = CetQuantize.Coding
public typealias CodingPolicy = CetQuantize.CodingPolicy
public typealias Effort = CetMeasure.RoundingEffort.Level
public typealias Encoding = CetEncode.Encoding
public typealias Runtime = CetEncode.Runtime

/// The words that stand for a choice are the same in C, JSON, Python and on the command line.
public enum Rounding: String, Sendable, CaseIterable {
  case nearest
  case gptq
  case compensated
}

/// What bounds a plan; always exactly one of these.
public enum Target: Sendable, Equatable {
  /// 32 / mean code bits over the planned weights.
  case ratio(Double)
  /// Mean code bits over the planned weights.
  case bits(Double)
  /// Bytes of the written file.
  case size(Int)
  /// Predicted loss change.
  case maximumLoss(Double)
}

public struct PlanOptions: Sendable, Equatable {
  /// Bits for the tensors that a pattern (`TensorPattern`) stands for.
  public struct BitRule: Sendable, Equatable {
    public var pattern: String
    public var bits: Int

    public init(pattern: String, bits: Int) {
      self.pattern = pattern
      self.bits = bits
    }
  }

  public static let allowedBits = 1...8

  public var target: Target
  public var method = Method.cet
  /// nil: the library chooses by the model's output.
  public var loss: LossKind?
  public var curvature = CurvatureKind.hessian
  public var rounding = Rounding.compensated
  public var granularity = Granularity.perAxis
  public var encoding = Encoding.planes
  /// Whether the encoding is the library's choice, by the model and the runtime.
  public var choosesEncoding = false
  /// Whether the granularity is the encoding's usual one.
  public var usesUsualGranularity = false
  /// The oldest that the file must open in; nil: none is named.
  public var runtime: Runtime?
  public var coding = CodingPolicy.auto
  public var effort = Effort.medium
  /// Ascending, without repetition; nil: what pays for the coding.
  public var bits: [Int]?
  public var keep: [String] = []
  public var fix: [BitRule] = []
  /// Tensors whose bits are chosen get at least, and at most, so many.
  public var minBits: [BitRule] = []
  public var maxBits: [BitRule] = []
  /// Patterns of tensors that get the same bits; `auto`: siblings, which runtimes fuse.
  public var group: [String] = []
  public var seed: UInt64 = 0
  /// nil: all.
  public var samples: Int?
  public var batchSize: Int?
  /// Copies of every image, moved by up to a sixteenth of it, that statistics, the choice of bits and the judgement of Step 7 take
  /// beside the samples; reported losses are of the samples alone. nil: as many as make up to 256 images of them, at most 3: none
  /// of more than 128 samples. Of inputs that a convolution reads, 16 × 16 and larger. Copies are held in memory.
  public var shifts: Int?
  public var maxMemory: Int?
  public var eigenpairs: Int?
  public var maxIterations: Int?
  /// The graph output that the loss reads; nil: the first.
  public var output: String?
  /// nil: activations stay float32.
  public var activations: ActivationOptions?
  /// Where the written file has its large tensors.
  public var place = ModelWriter.Place.inside
  public var threads = Workers.processorCount

  public init(target: Target) { self.target = target }

  /// What codes a written tensor may have, whatever model it is of.
  func codeRules(_ trellis: TrellisCode) -> CodeRules {
    encoding.codeRules(granularity, coding: coding, trellis: trellis)
  }

  /// What codes the tensors of a model may have.
  func codeRules(of model: LoadedModel) -> CodeRules {
    encoding.codeRules(granularity, coding: coding, trellis: model.trellisCode, layers: model.found.layers, runtime: runtime)
  }

  /// Whether a tensor may have trellis codes: that does not depend on which.
  private var hasTrellis: Bool { codeRules(.small).hasTrellis }

  /// With the choices that are left to the library made. Nearest codes are those of a grid, unless a trellis is asked for.
  func settled(for model: LoadedModel) -> PlanOptions {
    var options = self
    if choosesEncoding {
      options.encoding = activations.map { .besideActivations($0.bits, runtime) } ??
        .chosen(for: model.found.layers, runtime, usesUsualGranularity ? nil : granularity, bits: bits)
      if options.encoding == .ort, coding == .trellis || !leavesKernelBits(model) { options.encoding = .planes }
    }
    if usesUsualGranularity { options.granularity = options.encoding.usualGranularity(of: model.found.layers, runtime) }
    (options.choosesEncoding, options.usesUsualGranularity) = (false, false)
    if coding == .auto, rounding == .nearest || !options.encoding.carriesTrellis { options.coding = .affine }
    options.bits = options.widths
    return options
  }

  /// Whether the target can be met by kernels of at least 4 bits: with fewer their grids lose far more than what planes can have. What
  /// a loss asks for is not known, and may be 8 bits.
  private func leavesKernelBits(_ model: LoadedModel) -> Bool {
    if case .maximumLoss = target, !(runtime ?? .usual).hasWideKernels { return false }
    var trial = self
    (trial.encoding, trial.choosesEncoding) = (.ort, false)
    trial.bits = bits.map { $0.filter { $0 >= 4 } } ?? [4]
    if trial.bits == [] { return false }
    do {
      try PlanDraft(model, trial.settled(for: model), reached: Set(model.found.layers.indices)).checkTarget()
      return true
    } catch { return false }
  }

  /// Allowed bits. Between 4 and 8 bits a grid gains less than it costs.
  var widths: [Int] { bits ?? (hasTrellis ? [1, 2, 3, 4, 5, 6, 8] : [2, 3, 4, 8]) }

  public func validate() throws(CetError) {
    switch target {
    case .ratio(let value): try check(value.isFinite && value > 0, "target_ratio", value, "a positive number")
    case .bits(let value): try check(value.isFinite && value > 0, "target_bits", value, "a positive number")
    case .size(let value): try check(value > 0, "target_size", value, "a positive number of bytes")
    case .maximumLoss(let value): try check(value.isFinite && value > 0, "max_loss", value, "a positive number")
    }
    let allowed = "\(PlanOptions.allowedBits.lowerBound) to \(PlanOptions.allowedBits.upperBound)"
    guard !widths.isEmpty else { throw CetError(.invalidArgument, "option bits: expected at least one of \(allowed)") }
    for value in widths { try check(PlanOptions.allowedBits.contains(value), "bits", value, allowed) }
    guard zip(widths, widths.dropFirst()).allSatisfy({ $0 < $1 }) else {
      throw CetError(.invalidArgument, "option bits", expected: "rising values", got: "\(widths)")
    }
    for (name, rules) in [("fix", fix), ("min_bits", minBits), ("max_bits", maxBits)] {
      for rule in rules {
        try check(PlanOptions.allowedBits.contains(rule.bits), "\(name) '\(rule.pattern)'", rule.bits, "\(allowed) bits")
      }
    }
    if !hasTrellis { try checkWithoutTrellis() }
    if case .block(let size) = granularity {
      try check(size > 0 && size <= 1 << 20, "block_size", size, "1 to \(1 << 20)")
    }
    if let activations {
      try activations.validate()
      let isWide = activations.bits.allSatisfy { $0 >= Activation.integerBits }
      try check(
        encoding.takesActivations(activations.bits), "activations \(isWide ? "" : "of 4 bits ")with encoding", encoding.rawValue,
        isWide ? "planes, qdq or float" : "planes or float")
      if isWide, !choosesEncoding, let obstacle = encoding.activationObstacle(runtime) {
        throw CetError(.invalidArgument, "option activations: \(obstacle); those of 'qdq' open")
      }
    }
    if let shifts { try check((0...64).contains(shifts), "shifts", shifts, "0 to 64") }
    if !encoding.makesFilesSmaller, case .size = target {
      throw CetError(.invalidArgument, "target_size: the encoding '\(encoding.rawValue)' does not make the file smaller")
    }
    try checkCounts(samples: samples, batchSize: batchSize, maxMemory: maxMemory, threads: threads)
  }
}

extension PlanOptions {
  /// Refuses what only trellis codes have.
  private func checkWithoutTrellis() throws(CetError) {
    let obstacle =
      granularity == .perTensor ? "; granularity per-tensor has none"
      : encoding.trellisObstacle.map { "; \($0)" } ?? ""
    if coding == .trellis { throw CetError(.invalidArgument, "option coding: no tensor can have trellis codes\(obstacle)") }
    let narrow = widths.first == 1 ? "bits" : fix.first { $0.bits == 1 }.map { "fix '\($0.pattern)'" }
    if let narrow { throw CetError(.invalidArgument, "option \(narrow): 1 bit needs trellis codes\(obstacle)") }
  }
}

public struct QuantizeOptions: Sendable, Equatable {
  /// nil: the plan's.
  public var rounding: Rounding?
  /// nil: the plan's.
  public var encoding: Encoding?
  /// nil: the plan's.
  public var effort: Effort?
  /// nil: as many as the plan used.
  public var samples: Int?
  public var batchSize: Int?
  public var maxMemory: Int?
  public var threads = Workers.processorCount

  public init() {}

  public func validate() throws(CetError) {
    try checkCounts(samples: samples, batchSize: batchSize, maxMemory: maxMemory, threads: threads)
  }
}

public struct CurvatureOptions: Sendable, Equatable {
  /// nil: cross-entropy when there are labels, else the library chooses by the model's output.
  public var loss: LossKind?
  public var curvature = CurvatureKind.hessian
  public var samples: Int?
  public var batchSize: Int?
  public var maxMemory: Int?
  public var output: String?
  /// Patterns of initializers to leave out of the parameter vector.
  public var keep: [String] = []
  /// Patterns; where there are any, initializers that match none of them are left out, too.
  public var only: [String] = []
  public var threads = Workers.processorCount

  public init() {}

  public func validate() throws(CetError) {
    try checkCounts(samples: samples, batchSize: batchSize, maxMemory: maxMemory, threads: threads)
  }
}

private func check<Value>(_ condition: Bool, _ option: String, _ found: Value, _ expected: String) throws(CetError) {
  guard condition else { throw CetError(.invalidArgument, "option \(option)", expected: "\(expected)", got: "\(found)") }
}

private func checkCounts(samples: Int?, batchSize: Int?, maxMemory: Int?, threads: Int) throws(CetError) {
  if let samples { try check(samples > 0, "samples", samples, "a positive number") }
  if let batchSize { try check(batchSize > 0, "batch_size", batchSize, "a positive number") }
  if let maxMemory { try check(maxMemory > 0, "max_memory", maxMemory, "a positive number of bytes") }
  try check((1...1024).contains(threads), "threads", threads, "1 to 1024")
}
