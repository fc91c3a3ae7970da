import CetTensor
import Testing

@testable import CetAllocate

@Suite struct KnapsackTests {
  static func randomItems(_ random: inout Random, count: Int, options: Int, largest: Int) -> [[Knapsack.Option]] {
    (0..<count).map { _ in
      (0..<options).map { _ in
        Knapsack.Option(cost: 1 + Int(random.next() % UInt64(largest)), loss: random.uniform())
      }
    }
  }

  static func bruteForce(_ items: [[Knapsack.Option]], budget: Int) -> Double? {
    var best: Double?
    func visit(_ item: Int, _ cost: Int, _ loss: Double) {
      if cost > budget { return }
      if item == items.count {
        best = min(best ?? .infinity, loss)
        return
      }
      for option in items[item] { visit(item + 1, cost + option.cost, loss + option.loss) }
    }
    visit(0, 0, 0)
    return best
  }

  /// Least total cost, and that of the cheapest choice of least loss.
  static func usefulCosts(_ items: [[Knapsack.Option]]) -> ClosedRange<Int> {
    let least = items.reduce(0) { $0 + ($1.map(\.cost).min() ?? 0) }
    let most = items.reduce(0) { $0 + ($1.min { ($0.loss, $0.cost) < ($1.loss, $1.cost) }?.cost ?? 0) }
    return least...most
  }

  @Test func randomSmallProblems_bruteForce_sameLoss() throws {
    var random = Random(seed: 1)
    for trial in 0..<400 {
      let items = KnapsackTests.randomItems(
        &random, count: 1 + trial % 6, options: 1 + trial / 6 % 4, largest: trial % 2 == 0 ? 12 : 1_000_000)
      let range = KnapsackTests.usefulCosts(items)
      let budget = range.lowerBound - 2 + Int(random.next() % UInt64(range.upperBound - range.lowerBound + 4))
      if let best = KnapsackTests.bruteForce(items, budget: budget) {
        let solution = try Knapsack.solve(items, budget: budget)
        #expect(solution.cost <= budget)
        #expect(solution.isOptimal)
        #expect(abs(solution.loss - best) <= 1e-12, "trial \(trial)")
        let summed = zip(items, solution.choice).reduce(0) { $0 + $1.0[$1.1].cost }
        #expect(summed == solution.cost)
      } else {
        #expect(throws: CetError.self) { try Knapsack.solve(items, budget: budget) }
      }
    }
  }

  @Test func growingBudget_sameItems_lossNeverRises() throws {
    var random = Random(seed: 2)
    let items = KnapsackTests.randomItems(&random, count: 30, options: 4, largest: 1000)
    let range = KnapsackTests.usefulCosts(items)
    var previous = Double.infinity
    for budget in stride(from: range.lowerBound, through: range.upperBound + 10, by: 7) {
      let loss = try Knapsack.solve(items, budget: budget).loss
      #expect(loss <= previous + 1e-12)
      previous = loss
    }
  }

  /// Costs and losses as a network has them: cost grows with bits, loss falls fourfold per bit.
  static func networkItems(_ random: inout Random, count: Int) -> [[Knapsack.Option]] {
    (0..<count).map { _ in
      let weights = Int(pow10(3 + 5 * random.uniform()))
      let sensitivity = pow10(-3 * random.uniform())
      return [2, 3, 4, 8].map { bits in
        Knapsack.Option(cost: min(weights * bits / 8 + 64, 100_000_000), loss: sensitivity * pow4(-bits) * (0.7 + 0.6 * random.uniform()))
      }
    }
  }
  static func pow10(_ x: Double) -> Double { pow4(Int(x * 2)) * (1 + (x * 2 - Double(Int(x * 2)))) }
  static func pow4(_ x: Int) -> Double { x >= 0 ? Double(1 << (2 * min(x, 30))) : 1 / Double(1 << (2 * min(-x, 30))) }

  @Test(arguments: [false, true]) func largeInstance_manyBudgets_fast(random uniform: Bool) throws {
    var random = Random(seed: 3)
    let items = uniform
      ? KnapsackTests.randomItems(&random, count: 200, options: 4, largest: 100_000_000)
      : KnapsackTests.networkItems(&random, count: 200)
    let range = KnapsackTests.usefulCosts(items)
    let clock = ContinuousClock()
    for part in 1...9 {
      let budget = range.lowerBound + (range.upperBound - range.lowerBound) / 10 * part
      var solution: Knapsack.Solution?
      let time = try clock.measure { solution = try Knapsack.solve(items, budget: budget) }
      #expect(solution?.isOptimal == true)
      #expect(solution?.cost ?? .max <= budget)
      #expect(time < .seconds(30), "a hundredth of it when optimised; the limit is for instrumented builds")
    }
  }

  /// Losses proportional to costs: every choice has the same bound, and the frontier is all distinct sums.
  @Test func lossProportionalToCost_solve_closeAndHonest() throws {
    var random = Random(seed: 4)
    let items = (0..<30).map { _ in
      (0..<4).map { _ in
        let cost = Int(random.next() % 100_000_000)
        return Knapsack.Option(cost: cost, loss: 0.1 - 1e-9 * Double(cost))
      }
    }
    let range = KnapsackTests.usefulCosts(items)
    let solution = try Knapsack.solve(items, budget: (range.lowerBound + range.upperBound) / 2 + 12_345)
    #expect(solution.cost <= (range.lowerBound + range.upperBound) / 2 + 12_345)
    #expect(solution.lowerBound <= solution.loss + 1e-12)
    #expect(solution.loss - solution.lowerBound < 1e-5)
  }

  @Test func budgetBelowSmallest_solve_throwsReachableRange() {
    let items = [[Knapsack.Option(cost: 5, loss: 1), Knapsack.Option(cost: 9, loss: 0)]]
    do {
      _ = try Knapsack.solve(items, budget: 4)
      Issue.record("no error")
    } catch {
      #expect(error.code == .infeasibleBudget)
      #expect(error.message.contains("5") && error.message.contains("9"))
    }
  }

  @Test func badOptions_solve_throw() {
    #expect(throws: CetError.self) { try Knapsack.solve([[]], budget: 4) }
    #expect(throws: CetError.self) { try Knapsack.solve([[.init(cost: 1, loss: .nan)]], budget: 4) }
    #expect(throws: CetError.self) { try Knapsack.solve([[.init(cost: -1, loss: 0)]], budget: 4) }
    #expect(throws: CetError.self) {
      try Knapsack.solve([[.init(cost: .max, loss: 0)], [.init(cost: .max, loss: 0)]], budget: 4)
    }
  }

  @Test func noItems_solve_emptyChoice() throws {
    let solution = try Knapsack.solve([], budget: 0)
    #expect(solution.choice.isEmpty && solution.cost == 0)
  }

  @Test func maximumLoss_solve_cheapestOfBruteForce() throws {
    var random = Random(seed: 5)
    for _ in 0..<50 {
      let items = KnapsackTests.randomItems(&random, count: 4, options: 3, largest: 30)
      let limit = 1.5 + random.uniform()
      var cheapest: Int?
      func visit(_ item: Int, _ cost: Int, _ loss: Double) {
        if item == items.count {
          if loss <= limit { cheapest = min(cheapest ?? .max, cost) }
          return
        }
        for option in items[item] { visit(item + 1, cost + option.cost, loss + option.loss) }
      }
      visit(0, 0, 0)
      if let cheapest {
        #expect(try Knapsack.solve(items, maximumLoss: limit).cost == cheapest)
      } else {
        #expect(throws: CetError.self) { try Knapsack.solve(items, maximumLoss: limit) }
      }
    }
  }
}
