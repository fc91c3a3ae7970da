import CetFormats
import CetMeasure
import CetTensor

extension JSON {
  /// [lower end, upper end], or null.
  static func range(_ range: ClosedRange<Double>?) -> JSON {
    range.map { .array([.double($0.lowerBound), .double($0.upperBound)]) } ?? .null
  }
}

extension JSONFields {
  func range() throws(CetError) -> ClosedRange<Double> {
    let ends = try array()
    guard ends.count == 2 else { throw error("expected [lower end, upper end]") }
    let (low, high) = (try ends[0].double(), try ends[1].double())
    guard low <= high else { throw error("expected the lower end first") }
    return low...high
  }
}

extension LossEstimate {
  /// Members of these names; nil without a loss.
  init?(_ fields: JSONFields, loss: String, interval: String) throws(CetError) {
    guard let value = try fields.optional(loss)?.double() else { return nil }
    self.init(loss: value, interval: try fields.optional(interval)?.range())
  }

  func members(loss name: String, interval other: String) -> [JSON.Member] {
    [.init(name, .double(loss)), .init(other, .range(interval))]
  }
}

extension HeldOutLoss {
  fileprivate func members() -> [JSON.Member] {
    estimate.members(loss: "held_out_loss", interval: "held_out_interval") + [.init("held_out_samples", .integer(samples))]
  }

  init?(members fields: JSONFields) throws(CetError) {
    guard let estimate = try LossEstimate(fields, loss: "held_out_loss", interval: "held_out_interval") else { return nil }
    self.init(estimate: estimate, samples: try fields.required("held_out_samples").integer(0...(1 << 46)))
  }
}

extension PredictionAnchor {
  func json() -> JSON {
    .object([.init("table_loss", .double(tableLoss))] + expected.members(loss: "expected_loss", interval: "expected_interval"))
  }

  init?(fields: JSONFields) throws(CetError) {
    self.init(
      tableLoss: try fields.required("table_loss").double(),
      expected: try LossEstimate(fields, loss: "expected_loss", interval: "expected_interval"))
  }
}

extension PlanJudgement {
  func json() -> JSON {
    var pass: (word: String, options: SequentialOptions?)
    switch recipe.pass {
    case .nearest: pass = ("nearest", nil)
    case .parallel: pass = ("parallel", nil)
    case .sequential(let options): pass = ("sequential", options)
    }
    return .object(
      [
        .init("calibration", .string(calibration)), .init("rounding", .string(rounding.rawValue)),
        .init("pass", .string(pass.word)), .init("ridge", .double(pass.options?.ridge)),
        .init("matches_variance", pass.options.map { .bool($0.matchesVariance) } ?? .null),
        .init("reduced", .object(recipe.reduced.sorted { $0.key < $1.key }.map { .init($0.key, .string($0.value.rawValue)) })),
      ] + (heldOut?.members() ?? []) + (expected?.members(loss: "expected_loss", interval: "expected_interval") ?? []))
  }

  init(fields: JSONFields) throws(CetError) {
    let word = try fields.required("pass")
    let pass: RoundingRecipe.Pass
    switch try word.string() {
    case "nearest": pass = .nearest
    case "parallel": pass = .parallel
    case "sequential":
      let ridge = try fields.required("ridge")
      let value = try ridge.double()
      guard value >= 0, value.isFinite else { throw ridge.error("expected a finite number of at least 0") }
      pass = .sequential(SequentialOptions(ridge: value, matchesVariance: try fields.required("matches_variance").bool()))
    default: throw word.error("expected nearest, parallel or sequential")
    }
    var reduced: [String: LayerSteps] = [:]
    for (name, field) in try fields.optional("reduced")?.members() ?? [] { reduced[name] = try field.choice(LayerSteps.self) }
    self.init(
      recipe: RoundingRecipe(pass: pass, reduced: reduced), heldOut: try HeldOutLoss(members: fields),
      expected: try LossEstimate(fields, loss: "expected_loss", interval: "expected_interval"),
      calibration: try fields.required("calibration").string(), rounding: try fields.required("rounding").choice())
  }
}
