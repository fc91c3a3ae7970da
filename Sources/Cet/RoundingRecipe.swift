import CetMeasure

/// The steps by which one layer's weights become codes.
public enum LayerSteps: String, Sendable, CaseIterable {
  /// Codes fitted to the layer's inputs, and the mean of the output error put into a bias.
  case all
  /// Codes fitted to the layer's inputs; no bias is moved or added.
  case withoutBias = "no-bias"
  /// The nearest codes of the grid.
  case nearest
}

/// How the layers of a plan become codes: what held-out samples decided.
public struct RoundingRecipe: Sendable, Equatable {
  public enum Pass: Sendable, Equatable, CustomStringConvertible {
    /// Every layer at its nearest codes.
    case nearest
    /// Every layer by itself.
    case parallel
    /// Layer after layer, each fitted to the inputs that the quantized layers before it give.
    case sequential(SequentialOptions)

    public var description: String {
      switch self {
      case .nearest: "nearest"
      case .parallel: "parallel"
      case .sequential(let options):
        "sequential, ridge \(options.ridge)\(options.matchesVariance ? ", with variance matching" : "")"
      }
    }
  }

  public var pass: Pass
  /// Layers that take fewer than all steps, by initializer name.
  public var reduced: [String: LayerSteps] = [:]

  public init(pass: Pass, reduced: [String: LayerSteps] = [:]) {
    self.pass = pass
    self.reduced = reduced
  }
}

/// A plan's loss change on samples that its rounding did not see.
public struct HeldOutLoss: Sendable, Equatable {
  /// Mean over `samples`, with the interval of as many new ones.
  public var estimate: LossEstimate
  public var samples: Int

  public init(estimate: LossEstimate, samples: Int) {
    self.estimate = estimate
    self.samples = samples
  }
}

/// What rounding a plan's very bits from a part of the samples showed on the rest.
public struct PlanJudgement: Sendable, Equatable {
  public var recipe: RoundingRecipe
  /// nil: too few samples to hold any out.
  public var heldOut: HeldOutLoss?
  /// What new samples are expected to lose: that of the held-out ones together with what the others tell.
  public var expected: LossEstimate?
  /// The samples, as `Fingerprint.text(of:)` names them: the judgement holds for these.
  public var calibration: String
  public var rounding: Rounding

  public init(
    recipe: RoundingRecipe, heldOut: HeldOutLoss?, expected: LossEstimate?, calibration: String, rounding: Rounding
  ) {
    self.recipe = recipe
    self.heldOut = heldOut
    self.expected = expected
    self.calibration = calibration
    self.rounding = rounding
  }
}
