import CetAllocate
import CetTensor

/// A method whose losses of single layers add up: the exact knapsack chooses.
protocol KnapsackMethod: AllocationMethod {}

extension KnapsackMethod {
  static var table: TableUse { .anyTarget }

  static func choice(
    _ draft: PlanDraft, _ table: LossTable, losses: [[Int: Double]], limit: Double?
  ) throws(CetError) -> BitChoice {
    try draft.knapsackChoice(losses, tableLimit: limit)
  }

  static func reason(_ draft: PlanDraft, _ index: Int, bits: Int?) -> String {
    guard let bits, let next = draft.widths[index].first(where: { $0 > bits }) else {
      return "the most bits allowed: cheapest loss per byte"
    }
    return "\(next) bits would save less loss per byte than elsewhere"
  }
}

extension PlanDraft {
  /// Exact multiple-choice knapsack over code bits, or over bytes for targets in file size.
  fileprivate func knapsackChoice(_ losses: [[Int: Double]], tableLimit: Double?) throws(CetError) -> BitChoice {
    func items(_ cost: (Int, Int) -> Int) -> [[Knapsack.Option]] {
      units.map { unit in
        widths[unit[0]].map { bits in
          .init(cost: unit.reduce(0) { $0 + cost($1, bits) }, loss: unit.reduce(0) { $0 + (losses[$1][bits] ?? 0) })
        }
      }
    }
    if case .maximumLoss(let limit) = options.target {
      let items = items(storedCost)
      // The most bits of all are the best that the table has, whatever they lose.
      let least = items.reduce(0) { $0 + ($1.map(\.loss).min() ?? 0) }
      return choice(try Knapsack.solve(items, maximumLoss: max(tableLimit ?? limit, least * (1 + 1e-9))), losses)
    }
    return try underTarget { budget, cost throws(CetError) in choice(try Knapsack.solve(items(cost), budget: budget), losses) }
  }

  private func choice(_ solution: Knapsack.Solution, _ losses: [[Int: Double]]) -> BitChoice {
    var choice = BitChoice([:], layers: layers.count)
    for (unit, picked) in zip(units, solution.choice) {
      let price = lossPerByte(unit, picked, losses)
      for index in unit {
        choice.bits[index] = widths[index][picked]
        choice.lossPerByte[index] = price
      }
    }
    return choice
  }

  /// The loss that the next byte for these layers would save.
  private func lossPerByte(_ unit: [Int], _ picked: Int, _ losses: [[Int: Double]]) -> Double? {
    let widths = widths[unit[0]]
    guard picked + 1 < widths.count else { return nil }
    let (bits, next) = (widths[picked], widths[picked + 1])
    var saved = 0.0
    for index in unit {
      guard let now = losses[index][bits], let then = losses[index][next] else { return nil }
      saved += now - then
    }
    return saved / (Double(unit.reduce(0) { $0 + layers[$1].count } * (next - bits)) / 8)
  }
}
