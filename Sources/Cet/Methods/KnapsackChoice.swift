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
      planned.map { index in widths[index].map { .init(cost: cost(index, $0), loss: losses[index][$0] ?? 0) } }
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
    for (position, index) in planned.enumerated() {
      let picked = solution.choice[position]
      choice.bits[index] = widths[index][picked]
      choice.lossPerByte[index] = lossPerByte(index, picked, losses)
    }
    return choice
  }

  /// The loss that the next byte for this layer would save.
  private func lossPerByte(_ index: Int, _ picked: Int, _ losses: [[Int: Double]]) -> Double? {
    guard picked + 1 < widths[index].count else { return nil }
    let (bits, next) = (widths[index][picked], widths[index][picked + 1])
    guard let now = losses[index][bits], let then = losses[index][next] else { return nil }
    return (now - then) / (Double(layers[index].count * (next - bits)) / 8)
  }
}
