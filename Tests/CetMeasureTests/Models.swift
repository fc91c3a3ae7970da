import CetAutodiff
import CetGraph
import CetLayers
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

/// Mean and covariance of rows, by plain loops.
struct PlainMoments {
  let mean: [Double]
  let covariance: [Double]

  init(_ rows: [[Float]], centred: Bool = true) {
    self.init(rows, rows, centred: centred)
  }

  /// E[(a − E a)(b − E b)ᵀ], and the mean of a.
  init(_ a: [[Float]], _ b: [[Float]], centred: Bool = true) {
    func mean(_ rows: [[Float]]) -> [Double] {
      (rows.first ?? []).indices.map { j in rows.reduce(0) { $0 + Double($1[j]) } / Double(rows.count) }
    }
    let (x, y) = (mean(a), mean(b))
    self.mean = x
    covariance = x.indices.flatMap { i in
      y.indices.map { j in
        zip(a, b).reduce(0) {
          $0 + (Double($1.0[i]) - (centred ? x[i] : 0)) * (Double($1.1[j]) - (centred ? y[j] : 0))
        } / Double(a.count)
      }
    }
  }
}

/// The largest difference of two lists; infinite where their lengths differ.
func distance(_ x: [Double], _ y: [Double]) -> Double {
  x.count == y.count ? zip(x, y).map { abs($0 - $1) }.max() ?? 0 : .infinity
}
