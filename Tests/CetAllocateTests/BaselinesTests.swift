import CetTensor
import Testing

@testable import CetAllocate

@Suite struct BaselinesTests {
  @Test func formulas_smallValues_asPublished() throws {
    #expect(Baselines.hawqV2(trace: 8, weights: 4, squaredError: 0.5) == 1)
    #expect(Baselines.hawqV2(trace: -8, weights: 4, squaredError: 0.5) == 0)
    #expect(Baselines.fisher(gradientDots: [1, 3]) == 2.5)
  }
}
