import CetTensor
import Testing

@testable import CetAllocate

@Suite struct PairwiseAllocationTests {
  private struct Problem {
    let costs: [[Int]]
    let matrix: [Double]
    let budget: Int

    /// Losses of random errors δ: G = ZZᵀ, so that G is positive semidefinite; `coupled` false makes items independent.
    init(_ random: inout Random, items: Int, coupled: Bool) {
      costs = (0..<items).map { _ in
        let count = 20 + Int(random.next() % 50)
        return [2 * count, 3 * count, 4 * count]
      }
      let size = 3 * items
      var vectors: [[Double]] = []
      for option in 0..<size {
        let scale = Double(1 << (2 * (2 - option % 3)))
        var vector = [Double](repeating: 0, count: 4 * items)
        for k in vector.indices where coupled || k / 4 == option / 3 { vector[k] = random.normal() * scale }
        vectors.append(vector)
      }
      var products: [Double] = []
      for a in vectors {
        for b in vectors { products.append(zip(a, b).reduce(0) { $0 + $1.0 * $1.1 }) }
      }
      matrix = products
      let low = costs.reduce(0) { $0 + $1[0] }
      budget = low + low * Int(random.next() % 100) / 100
    }

    var choices: [[Int]] {
      var list: [[Int]] = [[]]
      for options in costs { list = list.flatMap { head in options.indices.map { head + [$0] } } }
      return list
    }

    func cost(_ picks: [Int]) -> Int { zip(costs, picks).reduce(0) { $0 + $1.0[$1.1] } }
  }

  @Test func independentItems_solve_isOptimal() throws {
    var random = Random(seed: 5)
    for _ in 0..<50 {
      let problem = Problem(&random, items: 5, coupled: false)
      let allocation = try PairwiseAllocation(costs: problem.costs, matrix: problem.matrix)
      let best = problem.choices.filter { problem.cost($0) <= problem.budget }.map(allocation.loss).min() ?? 0
      let found = try allocation.solve(budget: problem.budget)
      #expect(problem.cost(found) <= problem.budget)
      #expect(abs(allocation.loss(found) - best) <= 1e-9 * max(best, 1))
    }
  }

  @Test func coupledItems_solve_isNearTheBruteForceOptimum() throws {
    var random = Random(seed: 6)
    var optimal = 0
    for _ in 0..<100 {
      let problem = Problem(&random, items: 5, coupled: true)
      let allocation = try PairwiseAllocation(costs: problem.costs, matrix: problem.matrix)
      let best = problem.choices.filter { problem.cost($0) <= problem.budget }.map(allocation.loss).min() ?? 0
      let found = try allocation.solve(budget: problem.budget)
      #expect(problem.cost(found) <= problem.budget)
      #expect(allocation.loss(found) >= best * (1 - 1e-9))
      if allocation.loss(found) <= best * (1 + 1e-9) { optimal += 1 }
    }
    #expect(optimal >= 80)
  }

  @Test func wrongMatrix_isRefused() {
    #expect(throws: CetError.self) { try PairwiseAllocation(costs: [[1, 2]], matrix: [1]) }
    #expect(throws: CetError.self) { try PairwiseAllocation(costs: [[]], matrix: []) }
    #expect(throws: CetError.self) { try PairwiseAllocation(costs: [[1]], matrix: [.nan]) }
  }
}
