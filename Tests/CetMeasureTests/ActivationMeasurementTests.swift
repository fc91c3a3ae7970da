import CetAutodiff
import CetGraph
import CetLayers
import CetQuantize
import CetTensor
import Testing

@testable import CetMeasure

private let nodes = [
  Node("MatMul", inputs: ["x", "w"], outputs: ["h"]), Node("Relu", inputs: ["h"], outputs: ["r"]),
  Node("MatMul", inputs: ["r", "v"], outputs: ["y"]),
]

private func bound(_ grids: [String: ActivationGrid], threads: Int = 1) throws -> BoundModel {
  let model = Model(
    opsets: ["": 17],
    graph: Graph(
      nodes: nodes, initializers: [try weight("w", 4, 5, seed: 1), try weight("v", 5, 3, seed: 2)], inputs: [value("x")],
      outputs: [value("y")]))
  let found = try LinearLayers(model)
  let activations = RoundedActivations(Activations(found, planned: [0, 1]).all, grids: grids)
  return try BoundModel(
    found, output: "y", loss: .mse, activations: activations, workers: Workers(threads: threads), context: ComputeContext())
}

@Suite struct ActivationMeasurementTests {
  private let batches: [Batch]
  init() throws { batches = try (0..<3).map { try batch(["x": drawn(2, 4, seed: 10 + $0)]) } }

  @Test func losses_areThoseOfTheModelWithOneActivationRounded() throws {
    let plain = try bound([:], threads: 2)
    #expect(plain.activations.all.map(\.name) == ["x", "r"])
    let grid = try ActivationGrid(bits: 4, low: -1, high: 1)
    let references = try plain.referenceOutputs(batches)
    let found = try ActivationMeasurement(plain).losses([[grid], [grid]], batches, references: references)
    for (index, name) in ["x", "r"].enumerated() {
      let expected = try plain.sampleLosses(batches, references: references, changed: [name: grid.tensor()])
      #expect(found[index][0].plain == expected.plain && expected.mean > 0)
    }
  }

  @Test func unquantizedNetwork_isTheSameWithAndWithoutActivations() throws {
    let grid = try ActivationGrid(bits: 8, low: -1, high: 1)
    let (plain, rounded) = (try bound([:]), try bound(["x": grid, "r": grid]))
    for (a, b) in zip(try plain.referenceOutputs(batches), try rounded.referenceOutputs(batches)) {
      #expect(try a.array(as: Float.self) == b.array(as: Float.self))
    }
  }

  @Test func replacements_bringGridsAndIntegerWeights() throws {
    let grid = try ActivationGrid(bits: 8, low: -1, high: 1)
    let rounded = try bound(["x": grid])
    let layer = try LayerRounding(rounded, 0, nil).quantized(CodeFormat(bits: 8), rules: perAxis)
    let changed = try rounded.replacements([0: layer])
    #expect(try changed["x"]?.array(as: Float.self) == grid.tensor().array(as: Float.self))
    let expected = IntegerWeights(layer.tensor, bias: nil, inputScale: grid.scale).rounded(layer.tensor.dequantized(), layer.tensor.order)
    #expect(try changed["w"]?.array(as: Float.self) == expected)
  }

  @Test(arguments: [1, 3]) func histograms_areTheSameForAnyNumberOfThreads(_ threads: Int) throws {
    let found = try ActivationMeasurement(bound([:], threads: threads)).histograms(batches)
    let values = try batches.flatMap { try $0.inputs["x"]?.array(as: Float.self) ?? [] }
    #expect(found[0].low == values.min() && found[0].high == values.max() && found[0].count == values.count)
    #expect(found[1].low == 0)
  }
}
