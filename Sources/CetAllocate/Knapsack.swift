import CetTensor

/// Exact multiple-choice knapsack: one option of every item, Σ loss minimal subject to Σ cost ≤ budget.
///
/// Options that another one beats in both are removed; the linear relaxation over the convex hulls gives a
/// price λ (loss per byte) and the bound Σ min(loss + λ cost) − λ budget. A dynamic program over the Pareto
/// frontier of (cost, loss) keeps only states whose bound stays below a trial gap; the gap doubles until a
/// solution is found inside it, which is then optimal (Pisinger 1995 has the same core idea).
public enum Knapsack {
  public struct Option: Sendable, Hashable {
    /// Bytes, or bits: any integer unit, the same for all items and the budget.
    public var cost: Int
    public var loss: Double
    public init(cost: Int, loss: Double) {
      self.cost = cost
      self.loss = loss
    }
  }

  public struct Solution: Sendable {
    /// The chosen option of every item.
    public var choice: [Int]
    public var cost: Int
    public var loss: Double
    /// λ: what one more unit of budget saves in the relaxed problem, loss per unit of cost; 0 when the budget
    /// does not bind.
    public var price: Double
    /// Per item, what one unit of loss costs there: (cost of its next better option − cost) / (loss saved), the
    /// least over the better options; infinite when it has none.
    public var costPerLoss: [Double]
    /// No choice within the budget has a loss below this; equals `loss` up to round-off when `isOptimal`.
    public var lowerBound: Double
    /// False only when the search was cut at `stateLimit`.
    public var isOptimal: Bool
  }

  /// States of all frontiers together (32 bytes each) beyond which the frontiers are thinned. Only instances whose
  /// losses are nearly proportional to their costs, which leave no gap to prune by, come near it.
  static let stateLimit = 2_000_000

  public static func solve(_ items: [[Option]], budget: Int) throws(CetError) -> Solution {
    let reduced = try undominated(items)
    let (least, most) = try reachable(reduced)
    guard least <= budget else {
      throw CetError(
        .infeasibleBudget, "the budget is \(budget), the smallest reachable total is \(least), the largest useful one \(most)")
    }
    if most <= budget {  // everybody takes the best option
      let choice = reduced.map { $0.isEmpty ? 0 : $0[$0.count - 1].index }
      return solution(items, choice, price: 0, bound: nil, optimal: true)
    }
    let relaxed = Relaxation(reduced, budget: budget)
    var gap = max((relaxed.upperBound - relaxed.lowerBound) / 64, relaxed.noise)
    while true {
      var search = CoreSearch(reduced, relaxed, budget: budget, gap: gap)
      if var picks = search.run() {
        if search.wasCut {
          let loss = zip(reduced, picks).reduce(0) { $0 + $1.0[$1.1].loss }
          if loss > relaxed.upperBound { picks = relaxed.picks }
        }
        let choice = zip(reduced, picks).map { $0[$1].index }
        return solution(
          items, choice, price: relaxed.price, bound: search.wasCut ? relaxed.lowerBound : nil, optimal: !search.wasCut)
      }
      // Ends: at upperBound − lowerBound the greedy solution itself is inside. A search that had to be thinned
      // says nothing about smaller gaps.
      let widest = relaxed.upperBound - relaxed.lowerBound
      gap = search.wasCut && 4 * gap < widest ? widest : 4 * gap
    }
  }

  /// The cheapest choice whose total loss is at most `maximumLoss`, by bisection over exact solutions.
  public static func solve(_ items: [[Option]], maximumLoss: Double) throws(CetError) -> Solution {
    let reduced = try undominated(items)
    var (low, high) = try reachable(reduced)
    var best = try solve(items, budget: high)
    guard best.loss <= maximumLoss else {
      throw CetError(.infeasibleBudget, "the loss limit is \(maximumLoss), the smallest reachable loss is \(best.loss)")
    }
    while low < high {
      let middle = low + (high - low) / 2
      let trial = try solve(items, budget: middle)
      if trial.loss <= maximumLoss {
        best = trial
        high = min(middle, trial.cost)
      } else {
        low = middle + 1
      }
    }
    return best
  }

  // MARK: preparation

  struct Kept {
    let cost: Int
    let loss: Double
    let index: Int
  }

  /// Ascending cost, strictly descending loss.
  private static func undominated(_ options: [Option], item: Int) throws(CetError) -> [Kept] {
    guard !options.isEmpty else { throw CetError(.invalidArgument, "item \(item) of the allocation has no options") }
    for option in options {
      guard option.loss.isFinite else { throw CetError(.numeric, "item \(item) of the allocation has a loss of \(option.loss)") }
      guard option.cost >= 0 else { throw CetError(.invalidArgument, "item \(item) of the allocation has a cost of \(option.cost)") }
    }
    var kept: [Kept] = []
    let order = options.indices.sorted {
      (options[$0].cost, options[$0].loss, $0) < (options[$1].cost, options[$1].loss, $1)
    }
    for index in order where options[index].loss < kept.last?.loss ?? .infinity {
      kept.append(Kept(cost: options[index].cost, loss: options[index].loss, index: index))
    }
    return kept
  }

  private static func undominated(_ items: [[Option]]) throws(CetError) -> [[Kept]] {
    try items.enumerated().map { index, options throws(CetError) in try undominated(options, item: index) }
  }

  private static func reachable(_ items: [[Kept]]) throws(CetError) -> (least: Int, most: Int) {
    var least = 0
    var most = 0
    for options in items {
      guard let first = options.first, let last = options.last else { continue }
      let (sum, overflow) = most.addingReportingOverflow(last.cost)
      guard !overflow else { throw CetError(.invalidArgument, "the costs of the allocation overflow") }
      most = sum
      least += first.cost
    }
    return (least, most)
  }

  private static func solution(
    _ items: [[Option]], _ choice: [Int], price: Double, bound: Double?, optimal: Bool
  ) -> Solution {
    var cost = 0
    var loss = 0.0
    var costPerLoss: [Double] = []
    for (options, chosen) in zip(items, choice) {
      let taken = options[chosen]
      cost += taken.cost
      loss += taken.loss
      var least = Double.infinity
      for option in options where option.loss < taken.loss && option.cost > taken.cost {
        least = min(least, Double(option.cost - taken.cost) / (taken.loss - option.loss))
      }
      costPerLoss.append(least)
    }
    return Solution(
      choice: choice, cost: cost, loss: loss, price: price, costPerLoss: costPerLoss, lowerBound: bound ?? loss,
      isOptimal: optimal)
  }
}
