import CetGraph
import CetOperators
import CetTensor

@testable import CetAutodiff

/// A two-layer network: y = relu(x·a)·b.
func twoLayers(_ seed: UInt64 = 1) throws -> (model: Model, batch: Batch, weights: [String: Tensor]) {
  var random = Random(seed: seed)
  func tensor(_ shape: [Int]) throws -> Tensor {
    try Tensor((0..<shape.elementCount).map { _ in Float(random.normal()) }, shape: shape)
  }
  let weights = ["a": try tensor([4, 6]), "b": try tensor([6, 3])]
  let graph = Graph(
    nodes: [
      Node("MatMul", inputs: ["x", "a"], outputs: ["m"]), Node("Relu", inputs: ["m"], outputs: ["h"]),
      Node("MatMul", inputs: ["h", "b"], outputs: ["y"]),
    ],
    initializers: weights.sorted { $0.key < $1.key }.map { Initializer(name: $0.key, tensor: $0.value) },
    inputs: [ValueInfo(name: "x", type: .float32, shape: nil)], outputs: [ValueInfo(name: "y", type: .float32, shape: nil)])
  let batch = try Batch(inputs: ["x": try tensor([5, 4])], labels: nil, sampleCount: 5)
  return (Model(graph: graph), batch, weights)
}

/// Tokens of four numbers; a mask of zeros and ones weighs them before they are added up.
func pooled() throws -> (model: Model, batch: Batch, weights: [String: Tensor]) {
  var random = Random(seed: 3)
  func tensor(_ shape: [Int]) throws -> Tensor {
    try Tensor((0..<shape.elementCount).map { _ in Float(random.normal()) }, shape: shape)
  }
  let weights = ["a": try tensor([4, 16]), "b": try tensor([16, 3])]
  let graph = Graph(
    nodes: [
      Node("MatMul", inputs: ["x", "a"], outputs: ["m"]), Node("Tanh", inputs: ["m"], outputs: ["h"]),
      Node("Mul", inputs: ["h", "mask"], outputs: ["k"]),
      Node("ReduceMean", inputs: ["k"], outputs: ["p"], attributes: ["axes": .ints([1]), "keepdims": .int(0)]),
      Node("MatMul", inputs: ["p", "b"], outputs: ["y"]),
    ],
    initializers: weights.sorted { $0.key < $1.key }.map { Initializer(name: $0.key, tensor: $0.value) },
    inputs: ["x", "mask"].map { ValueInfo(name: $0, type: .float32, shape: nil) },
    outputs: [ValueInfo(name: "y", type: .float32, shape: nil)])
  let mask = try Tensor([1, 1, 0, 1, 0, 0].map(Float.init), shape: [2, 3, 1])
  let batch = try Batch(inputs: ["x": try tensor([2, 3, 4]), "mask": mask], labels: nil, sampleCount: 2)
  return (Model(graph: graph), batch, weights)
}

/// A layer over tokens, y = softmax(norm(gelu(x·a))·b), with heads that read some of it.
struct Tokens {
  let batch: Batch
  var nodes = [
    Node("MatMul", inputs: ["x", "a"], outputs: ["m"]), Node("Erf", inputs: ["m"], outputs: ["f"]),
    Node("Mul", inputs: ["m", "f"], outputs: ["g"]),
    Node("LayerNormalization", inputs: ["g", "scale", "bias"], outputs: ["l"], attributes: ["axis": .int(-1)]),
    Node("MatMul", inputs: ["l", "b"], outputs: ["p"]), Node("Softmax", inputs: ["p"], outputs: ["s"], attributes: ["axis": .int(-1)]),
    Node("Add", inputs: ["s", "x"], outputs: ["y"]),
  ]
  var initializers: [Initializer] = []

  init() throws {
    var random = Random(seed: 4)
    let x = try Tensor((0..<(2 * 40 * 64)).map { _ in Float(random.normal()) }, shape: [2, 40, 64])
    batch = try Batch(inputs: ["x": x], labels: nil, sampleCount: 2)
    for (name, shape) in [("a", [64, 80]), ("b", [80, 64]), ("scale", [80]), ("bias", [80])] {
      initializers.append(
        Initializer(name: name, tensor: try Tensor((0..<shape.elementCount).map { _ in Float(random.normal()) / 8 }, shape: shape)))
    }
  }

  mutating func take(_ indices: [Int64], as name: String) throws {
    initializers.append(Initializer(name: name + " indices", tensor: try Tensor(indices, shape: [indices.count])))
    nodes.append(Node("Gather", inputs: ["y", name + " indices"], outputs: [name], attributes: ["axis": .int(1)]))
  }

  var model: Model {
    Model(
      graph: Graph(
        nodes: nodes, initializers: initializers, inputs: [ValueInfo(name: "x", type: .float32, shape: nil)],
        outputs: [ValueInfo(name: "y", type: .float32, shape: nil)]))
  }

  func program() throws -> BatchProgram { try BatchProgram(model, batch: batch, parameters: ["a", "b"], ComputeContext()) }

  func feeds(_ bound: BatchProgram) -> [Int: Tensor] {
    bound.sources.feeds(batch, Dictionary(uniqueKeysWithValues: initializers.map { ($0.name, $0.tensor) }))
  }

  /// A loss of y, with its gradient along the weights.
  func loss(_ bound: BatchProgram) throws -> (y: Value, loss: Value, gradients: [Value]) {
    let e = bound.emitter
    let y = try bound.values(["y"])[0]
    let loss = try e.reshape(e.sum(e.multiply(y, e.multiply(y, y)), axes: [0, 1, 2]), [])
    let weights = bound.parameters.values.sorted { $0.id < $1.id }
    return (y, loss, try Differentiate.cotangents(of: weights, seeds: [loss: e.scalar(1)], e).compactMap { $0 })
  }
}
