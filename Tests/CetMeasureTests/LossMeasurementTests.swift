import CetAutodiff
import CetGraph
import CetQuantize
import CetTensor
import Testing

@testable import CetMeasure

private func oneLayer(_ loss: LossKind = .mse) throws -> BoundModel {
  try boundModel([Node("MatMul", inputs: ["x", "w"], outputs: ["y"])], [weight("w", 4, 3, seed: 1)], loss: loss, threads: 2)
}

private func batches() throws -> [Batch] { try (0..<3).map { try batch(["x": drawn(2, 4, seed: 10 + $0)]) } }

private func versions(_ bound: BoundModel) throws -> [[QuantizedLayer]] {
  let form = GridForm(granularity: .perAxis) { _ in 1 }
  return try bound.layers.indices.map { index in
    try [2, 4].map { try LayerRounding(bound, index, nil).quantized(bits: $0, form: form) }
  }
}

@Suite struct LossMeasurementTests {
  @Test(arguments: [LossKind.mse, .kl])
  func sensitivity_isTheLossWithOneLayerReplaced(_ loss: LossKind) throws {
    let nodes = [
      Node("MatMul", inputs: ["x", "w"], outputs: ["h"]), Node("Relu", inputs: ["h"], outputs: ["r"]),
      Node("MatMul", inputs: ["r", "v"], outputs: ["y"]),
    ]
    let bound = try boundModel(nodes, [weight("w", 4, 5, seed: 1), weight("v", 5, 3, seed: 2)], loss: loss, threads: 2)
    let (data, versions) = (try batches(), try versions(bound))
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

  /// A linear model's squared distance has no third order.
  @Test func secondOrder_ofALinearModel_isTheLoss() throws {
    let bound = try oneLayer()
    let (data, versions) = (try batches(), try versions(bound))
    var sums = [0.0, 0.0]
    let known = try SecondOrderMeasurement(bound, data).run(versions) { _, gradient, u in
      for i in 0..<2 { sums[i] += gradient[i] + 0.5 * u[i].reduce(0.0) { $0 + Double($1) * Double($1) } }
    }
    let found = try SensitivityMeasurement(bound, data, references: bound.referenceOutputs(data)).run(versions)
    #expect(known)
    for i in 0..<2 { #expect(abs(sums[i] / 6 - found[0][i].mean) < 1e-4 * found[0][i].mean) }
  }

  @Test func secondOrder_ofASum_isNotKnown() throws {
    let bound = try oneLayer(.output)
    #expect(try !SecondOrderMeasurement(bound, batches()).run(versions(bound)) { _, _, _ in })
  }

  @Test func affordable_keepsTheLeastSamples() throws {
    let (bound, data) = (try oneLayer(), try batches())
    #expect(try bound.affordable(data, runs: 1, limit: 1e9, least: 0) == 3)
    #expect(try bound.affordable(data, runs: 1, limit: 0, least: 0) == 1)
    #expect(try bound.affordable(data, runs: 1, limit: 0, least: 4) == 2)
  }

  @Test func losses_meansAndDifferences() {
    var losses = SampleLosses(plain: [1, 2, 6], judged: [1]) - SampleLosses(plain: [0, 1, 1], judged: [3])
    losses.append(SampleLosses(plain: [2], judged: [4]))
    #expect(losses.plain == [1, 1, 5, 2] && losses.judged == [-2, 4])
    #expect(losses.mean == 2.25 && losses.mean(first: 2) == 1 && losses.judgedMean == 1)
    #expect(SampleLosses().mean == 0)
  }
}
