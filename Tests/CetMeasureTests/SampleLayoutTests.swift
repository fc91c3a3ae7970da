import CetTensor
import Testing

@testable import CetMeasure

@Suite struct SampleLayoutTests {
  @Test func layouts_areAxesThatGrowWithTheSamples() {
    let found = SampleLayout.all([6, 3], samples: 3, alone: nil)
    #expect(found.map { [$0.axis, $0.run] } == [[0, 1], [0, 2], [1, 1]])
    #expect(SampleLayout.all([6, 3], samples: 3, alone: [2, 3]).map { [$0.axis, $0.run] } == [[0, 1], [0, 2]])
    #expect(SampleLayout.all([4, 5], samples: 3, alone: nil).isEmpty && SampleLayout.all([0], samples: 3, alone: nil).isEmpty)
  }

  @Test func entries_ofOneSample() throws {
    let value = try Tensor((0..<6).map(Float.init), shape: [6])
    #expect(SampleLayout(axis: 0, run: 2).entries(of: value, sample: 1, of: 3) == [2, 3])
    #expect(SampleLayout(axis: 0, run: 1).entries(of: value, sample: 1, of: 3) == [1, 4])
    let matrix = try Tensor((0..<6).map(Float.init), shape: [2, 3])
    #expect(SampleLayout(axis: 1, run: 1).entries(of: matrix, sample: 2, of: 3) == [2, 5])
  }

  @Test func relativeDistance_zerosAndNaNs() {
    #expect(([3, 4] as [Float]).relativeDistance(to: [3, 4]) == 0 && ([] as [Float]).relativeDistance(to: []) == 0)
    #expect(([0, 0] as [Float]).relativeDistance(to: [3, 4]) == 1)
    #expect(([1] as [Float]).relativeDistance(to: [0]) == .infinity && ([.nan] as [Float]).relativeDistance(to: [1]) == .infinity)
    #expect(([1] as [Float]).relativeDistance(to: [1, 2]) == .infinity)
  }
}
