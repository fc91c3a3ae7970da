import CetGraph
import CetTensor
import Testing

@testable import CetAutodiff

/// Tokens of four numbers; a mask of zeros and ones weighs them before they are added up.
private func pooled() throws -> (model: Model, batch: Batch, weights: [String: Tensor]) {
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

@Suite struct DirectionalTests {
  @Test func derivative_isTheLimitOfDifferences() throws {
    let (model, batch, weights) = try pooled()
    let program = try DirectionalProgram(model, batch: batch, groups: [["a"], ["b"]], output: "y", ComputeContext())
    let forward = try ForwardProgram(model, batch: batch, parameters: ["a", "b"], outputs: ["y"], ComputeContext())
    let baseline = try program.baseline(batch, weights: weights)
    for (group, name) in ["a", "b"].enumerated() {
      let old = try #require(weights[name])
      var random = Random(seed: 7)
      let delta = (0..<old.count).map { _ in Float(random.normal()) }
      let exact = try #require(try program.derivative(baseline, group: group, directions: [name: Tensor(delta, shape: old.shape)]))
      func output(_ step: Float) throws -> [Float] {
        let moved = zip(try old.array(as: Float.self), delta).map { $0 + step * $1 }
        return try forward.run(batch, weights: weights.merging([name: Tensor(moved, shape: old.shape)]) { $1 })[0].array(as: Float.self)
      }
      let step: Float = 1e-2
      let difference = zip(try output(step), try output(-step)).map { ($0 - $1) / (2 * step) }
      for (a, b) in zip(try exact.array(as: Float.self), difference) { #expect(abs(a - b) < 2e-3) }
    }
  }

  @Test func rows_behindAMask_haveNoInfluence() throws {
    let (model, batch, _) = try pooled()
    let program = try InfluenceProgram(model, batch: batch, values: ["m", "y"], output: "y", ComputeContext())
    let sums = try program.rowSums(batch, seed: 1)
    let rows = try #require(sums[0])
    #expect(rows.map { $0 > 0 } == [true, true, false, true, false, false])
    // One row a sample: nothing to ask.
    #expect(sums[1] == nil)
  }
}
