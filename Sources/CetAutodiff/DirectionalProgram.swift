import CetGraph
import CetOperators
import CetTensor

/// Directional derivatives of a model's output, exactly (forward mode), one group of parameters at a time: the
/// unmoved network runs once, a direction then computes only what lies behind its parameters.
public final class DirectionalProgram: @unchecked Sendable {
  private let program: Program
  private let inputs: [String: Value]
  private let parameters: [String: Value]
  private let context: ComputeContext
  private let output: Value
  private let early: [Int]
  private let groups: [Group]

  private struct Group {
    let directions: [String: Value]
    /// nil when the output does not depend on the group.
    let tangent: Value?
    let steps: [Int]
    let released: [[Int]]
  }

  /// - Parameters:
  ///   - groups: initializers that move together.
  ///   - output: name of the graph value that is differentiated.
  public init(_ model: Model, batch: Batch, groups names: [[String]], output: String, _ context: ComputeContext) throws {
    let bound = try BatchProgram(
      model, batch: batch, parameters: names.flatMap { $0 }, context)
    let e = bound.emitter
    let z = try bound.outputs([output])[0]
    self.output = z
    program = bound.program
    inputs = bound.inputs
    parameters = bound.parameters
    self.context = context
    let bases: [(directions: [String: Value], tangent: Value?)] = try names.map { members in
      var directions: [String: Value] = [:]
      var along: [Value: Value] = [:]
      for name in members {
        guard let value = bound.parameters[name] else { throw CetError(.internal, "initializer '\(name)' is not in the model") }
        let direction = e.source(.tangent(name), value.type)
        directions[name] = direction
        along[value] = direction
      }
      return (directions, try Differentiate.tangents(of: [z], along: along, e)[0])
    }
    let late = program.dependents(of: bases.flatMap { $0.directions.values })
    let all = program.steps(for: [z] + bases.compactMap(\.tangent))
    early = all.filter { index in !bound.program.steps[index].outputs.contains { late[$0] } }
    let program = bound.program
    groups = bases.map { base in
      guard let tangent = base.tangent else { return Group(directions: base.directions, tangent: nil, steps: [], released: []) }
      let steps = program.steps(for: [tangent]).filter { program.steps[$0].outputs.contains { late[$0] } }
      var released = [[Int]](repeating: [], count: steps.count)
      var seen: Set<Int> = [tangent.id]
      for position in steps.indices.reversed() {
        let step = program.steps[steps[position]]
        for id in step.inputs + step.outputs where late[id] && seen.insert(id).inserted { released[position].append(id) }
      }
      return Group(directions: base.directions, tangent: tangent, steps: steps, released: released)
    }
  }

  /// Values of the unmoved network.
  public struct Baseline: @unchecked Sendable {
    fileprivate let values: [Tensor?]
    public let output: Tensor
  }

  public func baseline(_ batch: Batch, weights: [String: Tensor]) throws -> Baseline {
    var values = [Tensor?](repeating: nil, count: program.values.count)
    for (name, value) in inputs { values[value.id] = batch.inputs[name] }
    for (name, value) in parameters { values[value.id] = weights[name] }
    for index in early { try program.execute(program.steps[index], &values, context) }
    return Baseline(values: values, output: try result(output, values))
  }

  /// The derivative of the output when a group's parameters move along `directions` (zero where none is given); nil
  /// where it is zero.
  public func derivative(_ baseline: Baseline, group: Int, directions: [String: Tensor]) throws -> Tensor? {
    let group = groups[group]
    guard let tangent = group.tangent else { return nil }
    var values = baseline.values
    for (name, value) in group.directions {
      values[value.id] = try directions[name] ?? Tensor.zeros(.float32, value.shape)
    }
    for (position, index) in group.steps.enumerated() {
      try program.execute(program.steps[index], &values, context)
      for id in group.released[position] { values[id] = nil }
    }
    return try result(tangent, values)
  }

  private func result(_ value: Value, _ values: [Tensor?]) throws -> Tensor {
    if case .constant(let tensor) = program.sources[value.id] { return tensor }
    guard let tensor = values[value.id] else { throw CetError(.internal, "value \(value.id) was not computed") }
    return tensor
  }
}
