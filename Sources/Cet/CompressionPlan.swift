import CetTensor

/// What a plan says about one tensor.
public struct PlannedTensor: Sendable, Equatable {
  public enum Decision: String, Sendable, CaseIterable {
    /// By the method, within the budget.
    case chosen
    /// By a fix pattern.
    case fixed
    /// Stays float32.
    case kept
  }

  public static let keptBits = 32

  public var name: String
  public var shape: [Int]
  /// Of one code; `keptBits` when kept.
  public var bits: Int
  public var decision: Decision
  /// One line for people.
  public var reason: String
  /// The quantization axis; nil: one scale for the whole tensor, or kept.
  public var axis: Int?
  /// Weights that share a scale along an index of `axis`; 0: all of them.
  public var blockSize = 0
  /// The loss change that this tensor alone is expected to cause: its entry in the table that the method used.
  public var predictedLossChange: Double?
  /// The loss that one more byte for this tensor would save (dual price).
  public var lossPerByte: Double?
  /// Loss change with only this tensor quantized, by bits: the sensitivity table.
  public var measuredLoss: [Int: Double] = [:]
  /// The same at the temperature at which candidates are compared (4 for `kl`): what the choice of bits rests on.
  public var judgedLoss: [Int: Double] = [:]
  /// ‖δ‖₂ up to which the curvature predicts the measured loss within 10⁻³ or 10 %; nil: unknown, or nowhere.
  public var trustRadius: Double?
  /// The same from curvature: half the quadratic form of the quantization error.
  public var curvatureLoss: [Int: Double] = [:]
  /// Packed codes; 0 when kept.
  public var codeBytes = 0
  /// What the file holds for the tensor: codes, scales and zero points, or floats.
  public var storedBytes = 0

  public init(name: String, shape: [Int], bits: Int, decision: Decision, reason: String) {
    self.name = name
    self.shape = shape
    self.bits = bits
    self.decision = decision
    self.reason = reason
  }

  public var count: Int { shape.elementCount }
  public var isPlanned: Bool { decision != .kept }
}

/// Bits of every weight tensor, why, and what each choice costs. A value: made once, then read, saved, planned
/// from again.
public struct CompressionPlan: Sendable, Equatable {
  public static let libraryVersion = "0.1.0"

  public var libraryVersion = CompressionPlan.libraryVersion
  /// SHA-256 of the model file, 64 hexadecimal digits.
  public var modelSHA256: String
  /// The model as it was loaded, external data included.
  public var modelBytes: Int
  /// What was asked for.
  public var options: PlanOptions
  /// The loss that was used.
  public var loss: LossKind
  /// Calibration samples that were used.
  public var samples: Int
  /// In graph order, kept ones included.
  public var tensors: [PlannedTensor]
  /// The whole written file in `options.encoding`.
  public var fileBytes: Int
  public var predictedLossChange: Double?
  /// 95 % interval of `predictedLossChange` over samples (bootstrap); nil: unknown.
  public var predictedLossInterval: ClosedRange<Double>?
  /// Of the quantized model; nil before it is quantized.
  public var measuredLossChange: Double?
  /// Lines for people: what was unusual.
  public var notes: [String] = []

  public init(
    modelSHA256: String, modelBytes: Int, options: PlanOptions, loss: LossKind, samples: Int,
    tensors: [PlannedTensor], fileBytes: Int
  ) {
    self.modelSHA256 = modelSHA256
    self.modelBytes = modelBytes
    self.options = options
    self.loss = loss
    self.samples = samples
    self.tensors = tensors
    self.fileBytes = fileBytes
  }

  private var planned: [PlannedTensor] { tensors.filter(\.isPlanned) }

  /// Weights with chosen or fixed bits.
  public var parameterCount: Int { planned.reduce(0) { $0 &+ $1.count } }
  public var codeBytes: Int { planned.reduce(0) { $0 &+ $1.codeBytes } }
  /// Codes, scales and zero points of the planned weights.
  public var storedBytes: Int { planned.reduce(0) { $0 &+ $1.storedBytes } }

  /// Code bits per planned weight; that of float32 when nothing is planned.
  public var meanBits: Double {
    let weights = planned.reduce(0.0) { $0 + Double($1.count) }
    guard weights > 0 else { return Double(PlannedTensor.keptBits) }
    return planned.reduce(0.0) { $0 + Double($1.count) * Double($1.bits) } / weights
  }

  /// The paper's w-ratio.
  public var ratio: Double { 32 / meanBits }

  public func index(of name: String) -> Int? { tensors.firstIndex { $0.name == name } }
}
