import CetQuantize
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
  static let possibleBits = 0...keptBits

  public var name: String
  /// The node that reads the tensor first, as messages call it; "": unknown.
  public var node = ""
  /// That node's operator, with its domain in front unless it is ONNX's own; "": unknown.
  public var operatorType = ""
  public var shape: [Int]
  /// Of one code; `keptBits` when kept.
  public var bits: Int
  public var decision: Decision
  /// One line for people.
  public var reason: String
  /// The quantization axis, also that which a kept tensor would have; nil: one scale for the whole tensor.
  public var axis: Int?
  /// Weights that share a scale along an index of `axis`; 0: all of them.
  public var blockSize = 0
  /// The loss change that this tensor alone is expected to cause: its entry in the table that the choice rests on.
  public var predictedLossChange: Double? { sensitivity[bits] }
  /// The loss that one more byte for this tensor would save (dual price).
  public var lossPerByte: Double?
  /// The sensitivity table, which the choice of bits rests on: loss change with only this tensor quantized, by bits. Measured on
  /// held-out samples and their moved copies at the temperature at which candidates are compared (4 for `kl`), or from a
  /// model of the loss; never rising with bits.
  public var sensitivity: [Int: Double] = [:]
  /// Loss change with only this tensor quantized, by bits, as it was measured at temperature 1: to compare `curvatureLoss` with.
  /// May rise with bits where the difference is less than the noise of the samples.
  public var measuredLoss: [Int: Double] = [:]
  /// ‖δ‖₂ up to which the curvature predicts the measured loss within 10⁻³ or 10 %; nil: unknown, or nowhere.
  public var trustRadius: Double?
  /// What codes of these bits stand for.
  public var coding: Coding.Kind
  /// The codings that the losses of the table are of, by bits.
  public var codings: [Int: Coding.Kind] = [:]
  /// `measuredLoss` from curvature: half the quadratic form of the quantization error.
  public var curvatureLoss: [Int: Double] = [:]
  /// Packed codes; 0 when kept.
  public var codeBytes = 0
  /// What the file holds for the tensor: codes, scales and zero points, or floats.
  public var storedBytes = 0

  public init(
    name: String, shape: [Int], bits: Int, coding: Coding.Kind = .affine, decision: Decision, reason: String
  ) {
    self.name = name
    self.shape = shape
    self.bits = bits
    self.coding = coding
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
  /// In graph order, those that stay float32 included; empty where none was asked for.
  public var activations: [PlannedActivation] = []
  /// The whole written file in `options.encoding`; 0: unknown, because bits were set by hand.
  public var fileBytes: Int
  /// What the plan as it is rounded will lose on new samples; nil: unknown.
  public var prediction: LossEstimate?
  /// A judged plan of the same table, from which losses of others are predicted; nil: none was judged.
  public var anchor: PredictionAnchor?
  /// How these very bits are rounded best; nil: not found out yet.
  public var judgement: PlanJudgement?
  /// Of the quantized model on samples that its rounding did not see; nil before it is quantized, or with too few samples.
  public var heldOutLoss: HeldOutLoss?
  /// Of the quantized model on the `samples` that it was fitted to; nil before it is quantized.
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

  /// The sum of the table's losses at the plan's bits; nil where one is missing.
  public var tableLoss: Double? {
    let losses = planned.compactMap { $0.sensitivity[$0.bits] }
    return losses.count == planned.count && !losses.isEmpty ? losses.reduce(0, +) : nil
  }

  public func index(of name: String) -> Int? { tensors.firstIndex { $0.name == name } }
}
