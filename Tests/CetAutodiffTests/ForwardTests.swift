import CetGraph
import CetOperators
import CetTensor
import Testing

@testable import CetAutodiff

/// A two-layer network: y = relu(x·a)·b.
private func network(_ seed: UInt64 = 1) throws -> (model: Model, batch: Batch, weights: [String: Tensor]) {
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

@Suite struct ForwardTests {
  @Test func rerun_ofAChangedWeight_equalsAFreshRun() throws {
    let (model, batch, weights) = try network()
    let program = try ForwardProgram(model, batch: batch, parameters: ["a", "b"], outputs: ["y"], ComputeContext())
    let baseline = try program.baseline(batch, weights: weights)
    let other = try network(2).weights
    for name in ["a", "b"] {
      let changed = [name: try #require(other[name])]
      let fresh = try program.run(batch, weights: weights.merging(changed) { $1 })
      #expect(try program.rerun(baseline, changed: changed)[0].array(as: Float.self) == fresh[0].array(as: Float.self))
      #expect(try fresh[0].array(as: Float.self) != baseline.outputs[0].array(as: Float.self))
    }
    #expect(try program.rerun(baseline, changed: [:])[0].array(as: Float.self) == baseline.outputs[0].array(as: Float.self))
  }

  @Test func cursor_seesReplacementsOfLaterLayersAlone() throws {
    let (model, batch, weights) = try network()
    let context = ComputeContext()
    let route = try ForwardRoute(model, batch: batch, parameters: ["a", "b"], stops: ["h"], outputs: ["y"], context)
    let other = try network(2).weights
    let cursor = ForwardCursor(route, batch, weights: weights, context)
    let hidden = try cursor.value("h").array(as: Float.self)
    cursor.replace("b", by: try #require(other["b"]))
    let program = try ForwardProgram(model, batch: batch, parameters: ["a", "b"], outputs: ["h", "y"], context)
    let expected = try program.run(batch, weights: ["a": try #require(weights["a"]), "b": try #require(other["b"])])
    #expect(hidden == (try expected[0].array(as: Float.self)))
    #expect(try cursor.value("y").array(as: Float.self) == expected[1].array(as: Float.self))
  }

  /// The product reads what stands in front of the transpositions, so that no step reads their results.
  @Test func cursor_givesValuesThatNoLaterStepReads() throws {
    let (original, batch, weights) = try network()
    var model = original
    model.graph.nodes[2...] = [
      Node("Transpose", inputs: ["h"], outputs: ["t"]), Node("Transpose", inputs: ["t"], outputs: ["u"]),
      Node("MatMul", inputs: ["u", "b"], outputs: ["y"]),
    ]
    let context = ComputeContext()
    let route = try ForwardRoute(model, batch: batch, parameters: ["a", "b"], stops: ["t", "u", "h"], outputs: ["y"], context)
    let program = try ForwardProgram(model, batch: batch, parameters: ["a", "b"], outputs: ["t", "u", "h", "y"], context)
    let cursor = ForwardCursor(route, batch, weights: weights, context)
    for (name, expected) in zip(["t", "u", "h", "y"], try program.run(batch, weights: weights)) {
      #expect(try cursor.value(name).array(as: Float.self) == expected.array(as: Float.self))
    }
  }
}

@Suite struct LossTests {
  private func emitted(_ kind: LossKind, _ z: Tensor, labels: Tensor? = nil, reference: Tensor? = nil) throws -> Double {
    let e = Emitter(program: Program(), context: ComputeContext())
    let value = try Loss.emit(
      kind, output: e.constant(z), labels: labels.map { e.constant($0) }, reference: reference.map { e.constant($0) }, e)
    return Double(try #require(e.known(value)).floats[0])
  }

  @Test func values_agreeWithTheEmittedLoss() throws {
    var random = Random(seed: 5)
    let z = try Tensor((0..<12).map { _ in Float(3 * random.normal()) }, shape: [4, 3])
    let r = try Tensor((0..<12).map { _ in Float(3 * random.normal()) }, shape: [4, 3])
    let labels = try Tensor([0, 2, 1, 1] as [Int64], shape: [4])
    for kind in LossKind.allCases {
      let direct = try Loss.value(kind, output: z, reference: r, labels: labels)
      #expect(abs(try emitted(kind, z, labels: labels, reference: r) - direct) < 1e-5 * max(1, abs(direct)))
    }
  }

  @Test func kl_ofEqualLogitsIsZeroAtAnyTemperature() throws {
    let z = try Tensor([1, -2, 5, 0.5, 0.25, 40] as [Float], shape: [2, 3])
    #expect(abs(try Loss.value(.kl, output: z, reference: z, labels: nil)) < 1e-12)
    #expect(abs(try Loss.value(.kl, output: z, reference: z, labels: nil, temperature: 4)) < 1e-12)
  }

  @Test func label_outsideTheClasses_isRefused() throws {
    let z = try Tensor([1, 2] as [Float], shape: [1, 2])
    #expect(throws: CetError.self) {
      try Loss.value(.crossEntropy, output: z, reference: nil, labels: Tensor([2] as [Int64], shape: [1]))
    }
  }
}
