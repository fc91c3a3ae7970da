import CetGraph
import CetOperators
import CetTensor

/// A forward run that stops where it is told, so that what comes later can be changed in between: replacing an
/// initializer acts on all steps that have not run yet. Values that no later step reads are given back.
public final class ForwardCursor: @unchecked Sendable {
  private let route: ForwardRoute
  private let context: ComputeContext
  private var values: [Tensor?]
  private var position = 0

  public init(_ route: ForwardRoute, _ batch: Batch, weights: [String: Tensor], _ context: ComputeContext) {
    self.route = route
    self.context = context.fast
    values = [Tensor?](repeating: nil, count: route.program.values.count)
    for (name, value) in route.inputs { values[value.id] = batch.inputs[name] }
    for (name, value) in route.parameters { values[value.id] = weights[name] }
  }

  public func replace(_ name: String, by tensor: Tensor) {
    if let value = route.parameters[name] { values[value.id] = tensor }
  }

  /// Runs until the named graph value is there, and gives it.
  public func value(_ name: String) throws -> Tensor {
    guard let target = route.named[name] else { throw CetError(.internal, "value '\(name)' is not on the route") }
    if case .constant(let tensor) = route.program.sources[target.id] { return tensor }
    while values[target.id] == nil, position < route.steps.count { try step() }
    guard let tensor = values[target.id] else { throw CetError(.internal, "value '\(name)' is gone") }
    return tensor
  }

  /// The named value if the run has passed it and still holds it.
  public func passed(_ name: String) -> Tensor? {
    guard let target = route.named[name] else { return nil }
    if case .constant(let tensor) = route.program.sources[target.id] { return tensor }
    return values[target.id]
  }

  private func step() throws {
    try route.program.execute(route.program.steps[route.steps[position]], &values, context)
    for id in route.released[position] { values[id] = nil }
    position += 1
  }
}

/// The steps of a batch shape on which cursors walk.
public final class ForwardRoute: @unchecked Sendable {
  let program: Program
  let inputs: [String: Value]
  let parameters: [String: Value]
  let named: [String: Value]
  let steps: [Int]
  let released: [[Int]]

  /// - Parameters:
  ///   - parameters: initializers that can be replaced on the way.
  ///   - stops: graph values that will be asked for, besides the outputs, in the order in which they will be.
  public init(
    _ model: Model, batch: Batch, parameters: [String], stops: [String], outputs: [String], _ context: ComputeContext
  ) throws {
    let bound = try BatchProgram(
      model, batch: batch, parameters: parameters, context)
    // Lowered together in graph order, so that the steps come in the order of the nodes.
    let names = Array(Set(stops + outputs)).sorted()
    let values = try bound.values(names)
    program = bound.program
    inputs = bound.inputs
    self.parameters = bound.parameters
    named = Dictionary(zip(names, values), uniquingKeysWith: { first, _ in first })
    steps = program.steps(for: values)
    var released = [[Int]](repeating: [], count: steps.count)
    let last = named
    let asked = ForwardRoute.positions(of: stops.compactMap { last[$0]?.id }, program, steps)
    var seen = Set(outputs.compactMap { last[$0]?.id })
    for position in steps.indices.reversed() {
      let step = program.steps[steps[position]]
      for id in step.inputs + step.outputs where seen.insert(id).inserted {
        let end = max(position, asked[id].map { $0 + 1 } ?? 0)
        if end < released.count { released[end].append(id) }
      }
    }
    self.released = released
  }

  /// Where the run stands when each of these values is asked for in turn. They must be there until then, also those that
  /// no later step reads: a product takes its operand from in front of a transposition.
  private static func positions(of stops: [Int], _ program: Program, _ steps: [Int]) -> [Int: Int] {
    var made: [Int: Int] = [:]
    for (position, step) in steps.enumerated() { for id in program.steps[step].outputs { made[id] = position } }
    var (result, reached) = ([Int: Int](), 0)
    for id in stops {
      guard let position = made[id] else { continue }
      reached = max(reached, position)
      result[id] = reached
    }
    return result
  }
}
