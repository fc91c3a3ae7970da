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
}
