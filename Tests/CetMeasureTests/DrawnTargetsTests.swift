import CetTensor
import Testing

@testable import CetMeasure

@Suite struct DrawnTargetsTests {
  @Test func labels_areAsFrequentAsTheirProbabilities() throws {
    var random = Random(seed: 1)
    // Of rows with odds 1 : 3.
    let logits = try Tensor((0..<4000).flatMap { _ in [0, 1.0986123] as [Float] }, shape: [40, 100, 2])
    let labels = try DrawnTargets.labels(logits, &random)
    #expect(labels.shape == [40, 100])
    let ones = try labels.array(as: Int64.self).reduce(0, +)
    // 3000 expected, standard deviation 27.
    #expect(abs(ones - 3000) < 140)
  }

  @Test func labels_ofACertainModel_areItsClass() throws {
    var random = Random(seed: 1)
    let labels = try DrawnTargets.labels(Tensor([0, 200, 0, 200, 0, 0] as [Float], shape: [2, 3]), &random)
    #expect(try labels.array(as: Int64.self) == [1, 0])
  }

  @Test func outputs_haveUnitNormalNoise() throws {
    var random = Random(seed: 1)
    let drawn = try DrawnTargets.outputs(Tensor([Float](repeating: 5, count: 4000), shape: [4000]), &random).array(as: Float.self)
    let moments = PlainMoments(drawn.map { [$0] })
    #expect(abs(moments.mean[0] - 5) < 0.08 && abs(moments.covariance[0] - 1) < 0.12)
  }
}
