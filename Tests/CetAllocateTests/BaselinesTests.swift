import CetTensor
import Testing

@testable import CetAllocate

@Suite struct BaselinesTests {
  @Test func formulas_smallValues_asPublished() throws {
    #expect(Baselines.hawqV2(trace: 8, weights: 4, squaredError: 0.5) == 1)
    #expect(Baselines.hawqV2(trace: -8, weights: 4, squaredError: 0.5) == 0)
    #expect(Baselines.fisher(gradientDots: [1, 3]) == 2.5)
    #expect(try Baselines.fisher(diagonal: [2, 4], error: [1, 0.5]) == 1.5)
    #expect(throws: CetError.self) { try Baselines.fisher(diagonal: [2], error: []) }
  }

  @Test func budget_uniform_largestWidthThatFits() throws {
    let table = try SensitivityTable([
      SensitivityTableTests.row("a", [2: 1, 4: 0.5, 8: 0], weights: 80),
      SensitivityTableTests.row("b", [2: 1, 3: 0.7, 4: 0.5, 8: 0], weights: 160),
    ])
    #expect(try Baselines.uniform(table, budget: 120) == ["a": 4, "b": 4])
    #expect(try Baselines.uniform(table, budget: 119) == ["a": 2, "b": 2])
    #expect(throws: CetError.self) { try Baselines.uniform(table, budget: 59) }
  }

  @Test func otherLosses_allocate_followThem() throws {
    let table = try SensitivityTable([
      SensitivityTableTests.row("a", [2: 1, 4: 0], weights: 80),
      SensitivityTableTests.row("b", [2: 0.5, 4: 0], weights: 80),
    ])
    #expect(try table.allocate(budget: 60).bits == ["a": 4, "b": 2])
    let other = try table.withLosses { tensor, bits in (tensor == "b" ? 2 : 1) / Double(bits) }
    #expect(try other.allocate(budget: 60).bits == ["a": 2, "b": 4])
  }
}
