import CetGraph
import CetTensor
import Testing

@testable import CetAutodiff

@Suite struct DirectionalProgramTests {
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

  /// Branches of one shape, so wide that their steps could be put together: each group moves without the other.
  @Test func derivative_groupsThatMeetInWideRows_moveAlone() throws {
    var random = Random(seed: 11)
    func tensor(_ shape: [Int]) throws -> Tensor {
      try Tensor((0..<shape.elementCount).map { _ in Float(random.normal()) }, shape: shape)
    }
    let weights = ["a": try tensor([4, 64]), "b": try tensor([4, 64])]
    let graph = Graph(
      nodes: ["a", "b"].flatMap { name in
        [
          Node("MatMul", inputs: ["x", name], outputs: ["m\(name)"]), Node("Tanh", inputs: ["m\(name)"], outputs: ["t\(name)"]),
          Node("Sigmoid", inputs: ["t\(name)"], outputs: ["s\(name)"]),
        ]
      } + [Node("Mul", inputs: ["sa", "sb"], outputs: ["y"])],
      initializers: weights.sorted { $0.key < $1.key }.map { Initializer(name: $0.key, tensor: $0.value) },
      inputs: [ValueInfo(name: "x", type: .float32, shape: nil)], outputs: [ValueInfo(name: "y", type: .float32, shape: nil)])
    let batch = try Batch(inputs: ["x": try tensor([128, 4])], labels: nil, sampleCount: 128)
    func derivatives(_ groups: [[String]]) throws -> [[Float]] {
      let program = try DirectionalProgram(Model(graph: graph), batch: batch, groups: groups, output: "y", ComputeContext())
      let baseline = try program.baseline(batch, weights: weights)
      return try groups.indices.map { group in
        let directions = weights.filter { groups[group].contains($0.key) }
        return try #require(try program.derivative(baseline, group: group, directions: directions)).array(as: Float.self)
      }
    }
    let (apart, together) = (try derivatives([["a"], ["b"]]), try derivatives([["a", "b"]]))
    for i in 0..<together[0].count { #expect(abs(apart[0][i] + apart[1][i] - together[0][i]) < 1e-5) }
  }
}
