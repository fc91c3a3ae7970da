import Testing

@testable import CetMeasure

@Suite struct LossesTests {
  @Test func losses_meansAndDifferences() {
    var losses = SampleLosses(plain: [1, 2, 6], judged: [1]) - SampleLosses(plain: [0, 1, 1], judged: [3])
    losses.append(SampleLosses(plain: [2], judged: [4]))
    #expect(losses.plain == [1, 1, 5, 2] && losses.judged == [-2, 4])
    #expect(losses.mean == 2.25 && losses.mean(first: 2) == 1 && losses.judgedMean == 1)
    #expect(SampleLosses().mean == 0)
  }
}
