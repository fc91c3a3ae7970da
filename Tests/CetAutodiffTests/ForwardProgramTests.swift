import CetGraph
import CetTensor
import Testing

@testable import CetAutodiff

@Suite struct ForwardProgramTests {
  @Test func rerun_ofAChangedWeight_equalsAFreshRun() throws {
    let (model, batch, weights) = try twoLayers()
    let program = try ForwardProgram(model, batch: batch, parameters: ["a", "b"], outputs: ["y"], ComputeContext())
    let baseline = try program.baseline(batch, weights: weights)
    let other = try twoLayers(2).weights
    for name in ["a", "b"] {
      let changed = [name: try #require(other[name])]
      let fresh = try program.run(batch, weights: weights.merging(changed) { $1 })
      #expect(try program.rerun(baseline, changed: changed)[0].array(as: Float.self) == fresh[0].array(as: Float.self))
      #expect(try fresh[0].array(as: Float.self) != baseline.outputs[0].array(as: Float.self))
    }
    #expect(try program.rerun(baseline, changed: [:])[0].array(as: Float.self) == baseline.outputs[0].array(as: Float.self))
  }

  @Test func replacedWeight_equalsAModelWithThatWeight() throws {
    let tokens = try Tokens()
    let weights = Dictionary(uniqueKeysWithValues: tokens.initializers.map { ($0.name, $0.tensor) })
    let names = ["a", "b", "bias"]
    let program = try ForwardProgram(tokens.model, batch: tokens.batch, parameters: names, outputs: ["y"], ComputeContext())
    let baseline = try program.baseline(tokens.batch, weights: weights)
    for name in names {
      let old = try #require(weights[name])
      let other = try Tensor(old.array(as: Float.self).map { 1.5 * $0 }, shape: old.shape)
      var changed = tokens
      changed.initializers = tokens.initializers.map { $0.name == name ? Initializer(name: name, tensor: other) : $0 }
      // With every weight a constant.
      let made = try ForwardProgram(changed.model, batch: tokens.batch, parameters: [], outputs: ["y"], ComputeContext())
      let expected = try made.run(tokens.batch, weights: [:])[0].array(as: Float.self)
      let found = try program.rerun(baseline, changed: [name: other])[0].array(as: Float.self)
      for (x, y) in zip(found, expected) { #expect(abs(x - y) < 1e-5) }
      #expect(found != (try baseline.outputs[0].array(as: Float.self)))
    }
  }

  @Test func memory_isNoLessThanWhatIsHeldAndLittleMore() throws {
    let tokens = try Tokens()
    let weights = Dictionary(uniqueKeysWithValues: tokens.initializers.map { ($0.name, $0.tensor) })
    let context = ComputeContext()
    let program = try ForwardProgram(tokens.model, batch: tokens.batch, parameters: ["a", "b"], outputs: ["y"], context)
    let outputs = try program.run(tokens.batch, weights: weights)
    let live = context.arena.peakByteCount
    #expect(live <= program.liveByteCount && program.liveByteCount <= 2 * live)
    try withExtendedLifetime(outputs) {
      let baseline = try program.baseline(tokens.batch, weights: weights)
      for name in ["a", "b"] { _ = try program.rerun(baseline, changed: [name: #require(weights[name])]) }
    }
    let held = context.arena.peakByteCount
    let bytes = try program.byteCount
    #expect(held <= bytes && bytes <= 2 * held)
  }
}
