import CetTensor

/// One option of every item under a budget, with losses of pairs: ½ Σ_ij G[a_i, a_j] over the chosen options a_i
/// (CLADO, arXiv 2307.05657, a quadratic multiple-choice knapsack).
///
/// The quadratic problem is not solved to the optimum: from the exact solution of the separable problem, and from those
/// of its linearizations at the solution before, single and paired moves follow until none lowers the loss.
public struct PairwiseAllocation: Sendable {
  /// Cost of every option, by item.
  public let costs: [[Int]]
  /// Number of the first option of every item in `matrix`.
  private let offsets: [Int]
  private let size: Int
  /// G, symmetric, row-major over all options of all items.
  private let matrix: [Double]

  public init(costs: [[Int]], matrix: [Double]) throws(CetError) {
    var offsets: [Int] = []
    var size = 0
    for options in costs {
      guard !options.isEmpty else { throw CetError(.invalidArgument, "an item of the allocation has no options") }
      offsets.append(size)
      size += options.count
    }
    guard matrix.count == size * size else {
      throw CetError(.shapeMismatch, "\(size) options need \(size * size) pair losses, got \(matrix.count)")
    }
    for value in matrix where !value.isFinite { throw CetError(.numeric, "a pair loss of the allocation is not finite") }
    self.costs = costs
    self.offsets = offsets
    self.size = size
    self.matrix = matrix
  }

  /// ½ Σ_ij G of a choice.
  public func loss(_ picks: [Int]) -> Double {
    let rows = zip(offsets, picks).map { $0 + $1 }
    return 0.5 * rows.reduce(0) { sum, a in sum + rows.reduce(0) { $0 + matrix[a * size + $1] } }
  }

  /// The chosen option of every item, within the budget.
  public func solve(budget: Int) throws(CetError) -> [Int] {
    var best: (picks: [Int], loss: Double)?
    var picks: [Int] = []
    for _ in 0..<8 {
      let items = costs.indices.map { item in
        costs[item].indices.map { option in
          Knapsack.Option(cost: costs[item][option], loss: linear(item, option, at: picks))
        }
      }
      let start = try Knapsack.solve(items, budget: budget).choice
      let found = improved(start, budget: budget)
      let value = loss(found)
      if let best, value >= best.loss { break }
      best = (found, value)
      picks = found
    }
    return best?.picks ?? []
  }

  /// Loss of an option with the others as they are; alone when there are none yet.
  private func linear(_ item: Int, _ option: Int, at picks: [Int]) -> Double {
    let a = offsets[item] + option
    var value = 0.5 * matrix[a * size + a]
    for (other, pick) in picks.enumerated() where other != item { value += matrix[a * size + offsets[other] + pick] }
    return value
  }

  /// Moves of one item, or of two at once, while one lowers the loss; the best move each time.
  private func improved(_ start: [Int], budget: Int) -> [Int] {
    var picks = start
    var cost = zip(costs, picks).reduce(0) { $0 + $1.0[$1.1] }
    // Every move lowers the loss, so this ends; the bound is for losses that differ by round-off.
    for _ in 0..<(10 * size + 10) {
      // Change of the loss by each option alone, with all others held.
      let gains = costs.indices.map { item in
        let now = linear(item, picks[item], at: picks)
        return costs[item].indices.map { linear(item, $0, at: picks) - now }
      }
      var best: (change: Double, moves: [(Int, Int)]) = (-1e-12 * max(abs(loss(picks)), 1e-300), [])
      for item in costs.indices {
        for option in costs[item].indices where option != picks[item] {
          let room = budget - cost - costs[item][option] + costs[item][picks[item]]
          if room >= 0, gains[item][option] < best.change { best = (gains[item][option], [(item, option)]) }
          for other in costs.indices where other > item {
            for second in costs[other].indices where second != picks[other] {
              guard costs[other][second] - costs[other][picks[other]] <= room else { continue }
              let change = gains[item][option] + gains[other][second] + interaction(item, option, other, second, picks)
              if change < best.change { best = (change, [(item, option), (other, second)]) }
            }
          }
        }
      }
      if best.moves.isEmpty { break }
      for (item, option) in best.moves {
        cost += costs[item][option] - costs[item][picks[item]]
        picks[item] = option
      }
    }
    return picks
  }

  /// What two moves change together beyond the sum of both alone.
  private func interaction(_ i: Int, _ a: Int, _ j: Int, _ b: Int, _ picks: [Int]) -> Double {
    let (oldA, newA, oldB, newB) = (offsets[i] + picks[i], offsets[i] + a, offsets[j] + picks[j], offsets[j] + b)
    return matrix[newA * size + newB] - matrix[newA * size + oldB] - matrix[oldA * size + newB] + matrix[oldA * size + oldB]
  }
}
