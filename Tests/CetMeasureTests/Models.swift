import CetAutodiff
import CetGraph
import CetLayers
import CetQuantize
import CetTensor

@testable import CetMeasure

/// Numbers between −1 and 1 that look drawn, the same for the same seed.
func numbers(_ count: Int, seed: UInt64) -> [Float] {
  var random = Random(seed: seed)
  return (0..<count).map { _ in Float(2 * random.uniform() - 1) }
}

func drawn(_ shape: Int..., seed: UInt64) throws -> Tensor { try Tensor(numbers(shape.elementCount, seed: seed), shape: shape) }

func weight(_ name: String, _ shape: Int..., seed: UInt64) throws -> Initializer {
  Initializer(name: name, tensor: try Tensor(numbers(shape.elementCount, seed: seed), shape: shape))
}

func value(_ name: String) -> ValueInfo { ValueInfo(name: name, type: .float32, shape: nil) }

/// A model from `inputs` to what the last node makes, bound for measurements.
func boundModel(
  _ nodes: [Node], _ initializers: [Initializer], inputs: [String] = ["x"], loss: LossKind = .mse, threads: Int = 1
) throws -> BoundModel {
  let output = nodes.last?.firstOutput ?? ""
  let model = Model(
    opsets: ["": 17],
    graph: Graph(nodes: nodes, initializers: initializers, inputs: inputs.map(value), outputs: [value(output)]))
  return try BoundModel(
    LinearLayers(model), output: output, loss: loss, workers: Workers(threads: threads), context: ComputeContext())
}

func batch(_ inputs: [String: Tensor]) throws -> Batch {
  try Batch(inputs: inputs, labels: nil, sampleCount: inputs.values.first?.shape.first ?? 0)
}

func all(_ batches: [Batch]) -> [FittingBatch] { batches.map { FittingBatch(batch: $0, rows: [:]) } }

/// Every layer of a model at each width, with nearest codes.
func nearest(_ bound: BoundModel, bits: [Int]) throws -> [[QuantizedLayer]] {
  try bound.layers.indices.map { index in
    try bits.map { try LayerRounding(bound, index, nil).quantized(CodeFormat(bits: $0), rules: perAxis) }
  }
}

/// Affine codes of these widths, by layer index.
func grids(_ bits: [Int: Int]) -> [Int: CodeFormat] { bits.mapValues { CodeFormat(bits: $0) } }

let perAxis = CodeRules(granularity: .perAxis) { _ in 1 }
