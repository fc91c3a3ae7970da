import CetAutodiff
import CetGraph
import CetOperators
import CetTensor
import Testing

/// A function from tensors to tensors, emitted as a program: what `checkOperator` examines.
struct OperatorUnderTest {
  let name: String
  /// Inputs in float64 that the function is differentiated in.
  let inputs: [Tensor]
  let emit: ([Value], Emitter) throws -> [Value]
  /// Step of the central differences.
  var step = 1e-5
  /// Relative to the largest entry that is compared; the executor's float32 kernels need more.
  var tolerance = 1e-6
}

/// Checks first and second derivatives:
///   J v against central differences, ⟨ȳ, J v⟩ = ⟨Jᵀȳ, v⟩, H v against central differences of the gradient of
///   ⟨ȳ, f⟩, ⟨u, H v⟩ = ⟨H u, v⟩, and that every emitted primitive can be differentiated once more.
func checkOperator(_ test: OperatorUnderTest, order: Int = 2, seed: UInt64 = 7) throws {
  var random = Random(seed: seed)
  let v = try test.inputs.map { try randomTensor($0.shape, &random) }
  let u = try test.inputs.map { try randomTensor($0.shape, &random) }
  let program = try DerivativeProgram(test, &random)

  func at(_ direction: [Tensor], _ factor: Double) throws -> [Tensor] {
    try zip(test.inputs, direction).map { try combine($0, $1, factor) }
  }
  // J v = (f(x + hv) − f(x − hv)) / 2h
  let outputs = try program.run(program.outputs, test.inputs, v)
  let tangents = try program.run(program.tangents, test.inputs, v)
  let differences = try difference(
    program.run(program.outputs, at(v, test.step), v), program.run(program.outputs, at(v, -test.step), v), 2 * test.step)
  let scale = max(1, peak(outputs))
  #expect(distance(tangents, differences) <= test.tolerance * max(scale, peak(differences)), "\(test.name): J v")

  // ⟨ȳ, J v⟩ = ⟨Jᵀȳ, v⟩
  let gradient = try program.run(program.gradients, test.inputs, v)
  let forward = zip(program.weights, tangents).reduce(0) { $0 + dot($1.0, $1.1) }
  let backward = zip(gradient, v).reduce(0) { $0 + dot($1.0, $1.1) }
  #expect(abs(forward - backward) <= test.tolerance * max(1, abs(forward), peak(gradient)), "\(test.name): transpose")
  guard order > 1 else { return }

  // H v = (g(x + hv) − g(x − hv)) / 2h
  let hv = try program.run(program.products, test.inputs, v)
  let gradientDifferences = try difference(
    program.run(program.gradients, at(v, test.step), v), program.run(program.gradients, at(v, -test.step), v), 2 * test.step)
  let size = max(1, peak(gradientDifferences), peak(gradient))
  #expect(distance(hv, gradientDifferences) <= test.tolerance * size, "\(test.name): H v")

  // ⟨u, H v⟩ = ⟨H u, v⟩
  let hu = try program.run(program.products, test.inputs, u)
  let left = zip(u, hv).reduce(0) { $0 + dot($1.0, $1.1) }
  let right = zip(hu, v).reduce(0) { $0 + dot($1.0, $1.1) }
  #expect(abs(left - right) <= test.tolerance * max(size, abs(left)), "\(test.name): symmetry")
}

/// f, its tangent along v, the gradient of ⟨ȳ, f⟩ and the derivative of that gradient along v.
private struct DerivativeProgram {
  let program: Program
  let sources: [Value]
  let directions: [Value]
  let weights: [Tensor]
  let outputs: [Value]
  let tangents: [Value]
  let gradients: [Value]
  let products: [Value]
  let context = ComputeContext()

  init(_ test: OperatorUnderTest, _ random: inout Random) throws {
    program = Program()
    let e = Emitter(program: program, context: context)
    sources = test.inputs.indices.map { e.source(.input("x\($0)"), TensorType(.float64, test.inputs[$0].shape)) }
    directions = test.inputs.indices.map { e.source(.tangent("v\($0)"), TensorType(.float64, test.inputs[$0].shape)) }
    let values = try test.emit(sources, e).filter { $0.element == .float64 && e.known($0) == nil }
    guard !values.isEmpty else { throw CetError(.internal, "\(test.name) has no output to differentiate") }
    outputs = values
    weights = try values.map { try randomTensor($0.shape, &random) }
    let along = Dictionary(uniqueKeysWithValues: zip(sources, directions))
    tangents = try zip(values, Differentiate.tangents(of: values, along: along, e)).map { try $1 ?? e.zeros($0.type) }
    var total: Value?
    for (value, weight) in zip(values, weights) {
      let product = try e.multiply(value, e.constant(weight))
      total = try e.sum(total, e.reshape(e.sum(product, axes: Array(0..<product.rank)), []))
    }
    guard let total else { throw CetError(.internal, "no sum") }
    let found = try Differentiate.cotangents(of: sources, seeds: [total: e.scalar(1, .float64)], e)
    gradients = try zip(sources, found).map { try $1 ?? e.zeros($0.type) }
    products = try zip(sources, Differentiate.tangents(of: gradients, along: along, e)).map { try $1 ?? e.zeros($0.type) }
    for (source, gradient) in zip(sources, gradients) { #expect(source.type == gradient.type, "\(test.name): gradient type") }
    try checkClosure(test.name, e)
  }

  /// Every primitive of the program, those of the gradient included, has a tangent rule that works.
  private func checkClosure(_ name: String, _ e: Emitter) throws {
    for step in program.steps {
      let inputs = step.inputs.map { program.values[$0] }
      let outputs = step.outputs.map { program.values[$0] }
      let along: [Value?] = inputs.enumerated().map { index, value in
        value.element.isFloatingPoint ? e.source(.tangent("closure\(index)"), value.type) : nil
      }
      let results = try step.primitive.jvp(Call(inputs: inputs, outputs: outputs), tangents: along, e)
      #expect(results.count == outputs.count, "\(name): tangents of \(step.primitive.name)")
      for (result, output) in zip(results, outputs) {
        if let result { #expect(result.type == output.type, "\(name): tangent type of \(step.primitive.name)") }
      }
    }
  }

  func run(_ values: [Value], _ inputs: [Tensor], _ v: [Tensor]) throws -> [Tensor] {
    var feeds: [Int: Tensor] = [:]
    for (source, tensor) in zip(sources, inputs) { feeds[source.id] = tensor }
    for (source, tensor) in zip(directions, v) { feeds[source.id] = tensor }
    return try StagedProgram(program, outputs: values).run(feeds, context).map { try $0.rowMajor() }
  }
}

/// Uniform on [low, high).
func randomTensor(_ shape: [Int], _ random: inout Random, _ low: Double = -1, _ high: Double = 1) throws -> Tensor {
  try Tensor((0..<shape.elementCount).map { _ in low + (high - low) * random.uniform() }, shape: shape)
}

private func combine(_ x: Tensor, _ v: Tensor, _ factor: Double) throws -> Tensor {
  let (a, b) = (try x.array(as: Double.self), try v.array(as: Double.self))
  return try Tensor(zip(a, b).map { $0 + factor * $1 }, shape: x.shape)
}

private func difference(_ a: [Tensor], _ b: [Tensor], _ divisor: Double) throws -> [Tensor] {
  try zip(a, b).map { a, b in
    let (x, y) = (try a.array(as: Double.self), try b.array(as: Double.self))
    return try Tensor(zip(x, y).map { ($0 - $1) / divisor }, shape: a.shape)
  }
}

private func numbers(_ tensor: Tensor) -> UnsafeBufferPointer<Double> {
  UnsafeBufferPointer(start: tensor.elements(as: Double.self), count: tensor.count)
}

private func peak(_ tensors: [Tensor]) -> Double {
  tensors.reduce(0) { max($0, numbers($1).reduce(0) { max($0, abs($1)) }) }
}

private func dot(_ a: Tensor, _ b: Tensor) -> Double { zip(numbers(a), numbers(b)).reduce(0) { $0 + $1.0 * $1.1 } }

/// The largest difference; infinity when one is not a number.
private func distance(_ a: [Tensor], _ b: [Tensor]) -> Double {
  zip(a, b).reduce(0) { worst, pair in
    zip(numbers(pair.0), numbers(pair.1)).reduce(worst) { let d = abs($1.0 - $1.1); return d.isNaN ? .infinity : max($0, d) }
  }
}
