import CetGraph
import CetOperators
import CetTensor
import Testing

@testable import CetAutodiff

/// A layer over tokens, y = softmax(norm(gelu(x·a))·b), with heads that read some of it.
private struct Tokens {
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

  func program() throws -> BatchProgram {
    let model = Model(
      graph: Graph(
        nodes: nodes, initializers: initializers, inputs: [ValueInfo(name: "x", type: .float32, shape: nil)],
        outputs: [ValueInfo(name: "y", type: .float32, shape: nil)]))
    return try BatchProgram(model, batch: batch, parameters: ["a", "b"], ComputeContext())
  }

  func feeds(_ bound: BatchProgram) -> [Int: Tensor] {
    var feeds: [Int: Tensor] = [:]
    for (name, value) in bound.inputs { feeds[value.id] = batch.inputs[name] }
    for (name, value) in bound.parameters { feeds[value.id] = initializers.first { $0.name == name }?.tensor }
    return feeds
  }
}

/// Rows of every product of matrices on the way to the outputs.
private func productRows(_ program: Program, _ outputs: [Value]) -> [Int] {
  program.steps(for: outputs).compactMap { index in
    let step = program.steps[index]
    return step.primitive is MatrixProduct ? program.values[step.outputs[0]].shape[0] : nil
  }
}

@Suite struct SelectionPushdownTests {
  @Test(arguments: [([0], 1), ([-1], 1), ([3, 0, 3], 2), (Array(0..<39), 39), (Array(0..<40), 40)] as [([Int64], Int)])
  func rows_thatNobodyReads_areNotComputed(_ indices: [Int64], _ count: Int) throws {
    var tokens = try Tokens()
    try tokens.take(indices, as: "z")
    let bound = try tokens.program()
    let whole = try bound.values(["z"])
    let part = try bound.outputs(["z"])
    #expect(productRows(bound.program, whole) == [80, 80])
    #expect(productRows(bound.program, part) == [2 * count, 2 * count])
    let results = try [whole, part].map { try Executable(bound.program, outputs: $0).run(tokens.feeds(bound), ComputeContext())[0] }
    #expect(results[0].shape == results[1].shape)
    for (a, b) in zip(try results[0].array(as: Float.self), try results[1].array(as: Float.self)) { #expect(abs(a - b) < 1e-6) }
  }

  @Test func selections_ofOneValue_areMadeOfTheirUnion() throws {
    var tokens = try Tokens()
    try tokens.take([5], as: "u")
    try tokens.take([5, 1], as: "v")
    let bound = try tokens.program()
    let outputs = try bound.outputs(["u", "v"])
    #expect(productRows(bound.program, outputs) == [4, 4])
    let whole = try bound.values(["u", "v"])
    let results = try [whole, outputs].map { try Executable(bound.program, outputs: $0).run(tokens.feeds(bound), ComputeContext()) }
    for (a, b) in zip(results[0], results[1]) {
      for (x, y) in zip(try a.array(as: Float.self), try b.array(as: Float.self)) { #expect(abs(x - y) < 1e-6) }
    }
  }

  @Test func value_thatIsReadWhole_isLeftAlone() throws {
    var tokens = try Tokens()
    try tokens.take([0], as: "z")
    let bound = try tokens.program()
    let asked = try bound.values(["z", "y"])
    #expect(try bound.outputs(["z", "y"]) == asked)
  }
}

@Suite struct RowGroupTests {
  /// What one step after the other gives, of the same program.
  @Test func groupedSteps_giveTheSameBits() throws {
    let tokens = try Tokens()
    let bound = try tokens.program()
    let e = bound.emitter
    let y = try bound.values(["y"])[0]
    let loss = try e.reshape(e.sum(e.multiply(y, e.multiply(y, y)), axes: [0, 1, 2]), [])
    let gradients = try Differentiate.cotangents(of: bound.parameters.values.sorted { $0.id < $1.id }, seeds: [loss: e.scalar(1)], e)
    let outputs = [y, loss] + gradients.compactMap { $0 }
    let context = ComputeContext()
    var values = [Tensor?](repeating: nil, count: bound.program.values.count)
    for (id, tensor) in tokens.feeds(bound) { values[id] = tensor }
    let steps = bound.program.steps(for: outputs)
    for index in steps { try bound.program.execute(bound.program.steps[index], &values, context) }
    var grouping = RowGrouping(bound.program, keep: Set(outputs.map(\.id)), steps.map { .step($0) })
    var groups = 0
    var grouped = [Tensor?](repeating: nil, count: bound.program.values.count)
    for (id, tensor) in tokens.feeds(bound) { grouped[id] = tensor }
    for instruction in grouping.instructions() {
      switch instruction {
      case .step(let step): try bound.program.execute(bound.program.steps[step], &grouped, context)
      case .rows(let group):
        groups += 1
        try bound.program.execute(group, &grouped, context)
      case .accumulate: Issue.record("no sums were given")
      }
    }
    #expect(groups > 2)
    for output in outputs {
      let (a, b) = (try #require(values[output.id]), try #require(grouped[output.id]))
      #expect(try a.array(as: Float.self) == b.array(as: Float.self))
    }
  }
}
