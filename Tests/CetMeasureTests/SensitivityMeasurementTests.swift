import CetAutodiff
import CetGraph
import CetTensor
import Testing

@testable import CetMeasure

private func batches() throws -> [Batch] { try (0..<3).map { try batch(["x": drawn(2, 4, seed: 10 + $0)]) } }

@Suite struct SensitivityMeasurementTests {
  @Test(arguments: [LossKind.mse, .kl])
  func sensitivity_isTheLossWithOneLayerReplaced(_ loss: LossKind) throws {
    let nodes = [
      Node("MatMul", inputs: ["x", "w"], outputs: ["h"]), Node("Relu", inputs: ["h"], outputs: ["r"]),
      Node("MatMul", inputs: ["r", "v"], outputs: ["y"]),
    ]
    let bound = try boundModel(nodes, [weight("w", 4, 5, seed: 1), weight("v", 5, 3, seed: 2)], loss: loss, threads: 2)
    let (data, versions) = (try batches(), try nearest(bound, bits: [2, 4]))
    let references = try bound.referenceOutputs(data)
    let found = try SensitivityMeasurement(bound, data, references: references).run(versions)
    for (index, layers) in versions.enumerated() {
      for (version, layer) in layers.enumerated() {
        let changed = try bound.replacement(index, layer)
        let expected = try bound.sampleLosses(data, references: references, changed: changed)
        let value = found[index][version]
        #expect(value.plain.count == 6 && distance(value.plain, expected.plain) < 1e-6)
        #expect(distance(value.judged, expected.judged) < 1e-6)
        #expect(abs(value.mean - (try bound.meanLoss(data, references: references, changed: changed))) < 1e-6)
      }
    }
  }

  @Test func affordable_keepsTheLeastSamples() throws {
    let (bound, data) = (
      try boundModel([Node("MatMul", inputs: ["x", "w"], outputs: ["y"])], [weight("w", 4, 3, seed: 1)]), try batches()
    )
    #expect(try bound.affordable(data, runs: 1, limit: 1e9, least: 0) == 3)
    #expect(try bound.affordable(data, runs: 1, limit: 0, least: 0) == 1)
    #expect(try bound.affordable(data, runs: 1, limit: 0, least: 4) == 2)
  }
}
