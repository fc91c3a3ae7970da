import CetAllocate
import CetTensor
import Glibc

/// Finds the smallest plan that loses no more than a limit on held-out samples: the sensitivity table orders the plans, a
/// measurement says what one of them loses.
final class LossLimit {
  private let session: Session
  private let draft: PlanDraft
  private let table: LossTable
  private let calibration: String
  private let monitor: Monitor

  init(session: Session, draft: PlanDraft, table: LossTable, calibration: String, monitor: Monitor) {
    self.session = session
    self.draft = draft
    self.table = table
    self.calibration = calibration
    self.monitor = monitor
  }

  /// Plans that are measured at most.
  private static let attempts = 8
  /// A plan this close to the limit is not improved on.
  private static let closeness = 0.9

  func plan(_ limit: Double) throws(CetError) -> CompressionPlan {
    var best: CompressionPlan?
    // Sums of table losses between which the limit lies.
    var (met, missed) = (0.0, Double.infinity)
    var next = limit
    var recipe: RoundingRecipe?
    var tried: Set<[Int]> = []
    for _ in 0..<LossLimit.attempts {
      var plan = try draft.plan(table, loss: session.loss, samples: session.sampleCount, tableLimit: next)
      guard tried.insert(plan.tensors.map(\.bits)).inserted else { break }
      try session.judge(&plan, calibration: calibration, recipe: recipe, monitor)
      recipe = plan.judgement?.recipe
      guard let sum = plan.tableLoss, let loss = plan.prediction?.bound else {
        // Nothing can be held out: the table's sum is all there is.
        return try draft.plan(table, loss: session.loss, samples: session.sampleCount, tableLimit: limit)
      }
      monitor.log(.info, "held-out loss of \(plan.meanBits) bits: up to \(loss)")
      let share = limit / max(loss, .leastNormalMagnitude)
      if share >= 1 {
        if plan.storedBytes < best?.storedBytes ?? .max { best = plan }
        met = max(met, sum)
      } else {
        missed = min(missed, sum)
      }
      if share >= 1, share * LossLimit.closeness < 1 { break }
      // The loss goes about as the table's sum does.
      next = sum * share * (share < 1 ? LossLimit.closeness : 1)
      if next <= met || next >= missed { next = (max(met, missed / 16) * missed).squareRoot() }
      if met > 0, missed < 1.05 * met { break }
    }
    if let best { return best }
    return try mostBits(limit, recipe)
  }

  /// The last resort, and what can be reached.
  private func mostBits(_ limit: Double, _ recipe: RoundingRecipe?) throws(CetError) -> CompressionPlan {
    var plan = try draft.plan(table, loss: session.loss, samples: session.sampleCount, tableLimit: 0)
    try session.judge(&plan, calibration: calibration, recipe: recipe, monitor)
    guard let loss = plan.prediction?.bound, loss > limit else { return plan }
    throw CetError(
      .infeasibleBudget,
      "max_loss \(limit) cannot be reached: the most bits allowed lose up to \(loss) on held-out samples (95 % confidence)"
    ).with(.expected, "at most \(limit)").with(.got, "\(loss)")
  }

  /// Throws when a rounded plan exceeds its limit.
  static func check(_ expected: LossEstimate?, _ limit: Double) throws(CetError) {
    guard let loss = expected?.bound, loss > limit * (1 + 1e-9) else { return }
    throw CetError(
      .infeasibleBudget,
      "the plan was made for max_loss \(limit), rounded it loses up to \(loss) on held-out samples (95 % confidence): plan again with these samples"
    ).with(.expected, "at most \(limit)").with(.got, "\(loss)")
  }
}
