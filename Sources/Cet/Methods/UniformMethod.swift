import CetMeasure
import CetTensor

/// The most bits that keep the target, the same everywhere. Nothing is measured.
enum UniformMethod: AllocationMethod {
  static let table = TableUse.none

  static func measure(_ session: Session, _ draft: PlanDraft, _ monitor: Monitor) throws(CetError) -> LossTable {
    var table = LossTable(count: session.bound.layers.count)
    table.codings = try session.codings(draft, monitor)
    return table
  }

  static func choice(
    _ draft: PlanDraft, _ table: LossTable, losses: [[Int: Double]], limit: Double?
  ) throws(CetError) -> BitChoice {
    for width in draft.options.widths.reversed() {
      let bits = draft.bits(everywhere: width)
      if try draft.fits(bits) { return BitChoice(bits: bits) }
    }
    try draft.checkTarget()
    throw CetError(
      .infeasibleBudget, "no single width of \(draft.options.widths) meets the target together with the fix patterns")
  }

  static func reason(_ draft: PlanDraft, _ index: Int, bits: Int?) -> String { "the same bits everywhere" }
}
