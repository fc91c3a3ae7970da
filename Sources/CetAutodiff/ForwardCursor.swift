import CetGraph
import CetOperators
import CetTensor

/// A forward run that stops where it is told, so that what comes later can be changed in between: replacing an
/// initializer acts on all steps that have not run yet. Values that no later step reads are given back.
public final class ForwardCursor: @unchecked Sendable {
  private let route: ForwardRoute
  private let context: ComputeContext
  private var values: RunValues
  private var position = 0

  public init(_ route: ForwardRoute, _ batch: Batch, weights: [String: Tensor], _ context: ComputeContext) {
    self.route = route
    self.context = context.fast  // nothing is differentiated at a kink here
    values = RunValues(route.program, route.sources.feeds(batch, weights))
  }

  public func replace(_ name: String, by tensor: Tensor) { values.feed(route.sources.feeds([name: tensor])) }

  /// Runs until the named graph value is there, and gives it.
  public func value(_ name: String) throws(CetError) -> Tensor {
    guard let target = route.named[name] else { throw CetError(.internal, "value '\(name)' is not on the route") }
    while !values.holds(target.id), position < route.schedule.instructions.count {
      try route.schedule.run(at: position, &values, context)
      position += 1
    }
    return try values.fetch(target.id)
  }

  /// The named value if the run has passed it and still holds it.
  public func passed(_ name: String) -> Tensor? { route.named[name].flatMap { try? values.fetch($0.id) } }
}

/// The steps of a batch shape on which cursors walk.
public final class ForwardRoute: Sendable {
  let program: Program
  let sources: NamedSources
  let named: [String: Value]
  let schedule: Schedule

  /// - Parameters:
  ///   - parameters: initializers that can be replaced on the way.
  ///   - grids: values that are rounded, with the names of the grids that can be replaced on the way.
  ///   - stops: graph values that will be asked for, besides the outputs, in the order in which they will be.
  public init(
    _ model: Model, batch: Batch, parameters: [String], grids: [String: String] = [:], stops: [String], outputs: [String],
    _ context: ComputeContext
  ) throws(CetError) {
    let bound = try BatchProgram(model, batch: batch, parameters: parameters, grids: grids, context)
    // Lowered together in graph order, so that the steps come in the order of the nodes.
    let names = Array(Set(stops + outputs)).sorted()
    let values = try bound.values(names)
    let named = Dictionary(uniqueKeysWithValues: zip(names, values))
    let (program, steps) = (bound.program, bound.program.steps(for: values))
    let instructions = steps.map { Instruction.step($0) }.looking(at: stops.compactMap { named[$0]?.id }, program)
    self.program = program
    self.named = named
    sources = bound.sources
    schedule = Schedule(program, instructions, keep: Set(outputs.compactMap { named[$0]?.id }))
  }
}

extension [Instruction] {
  /// These instructions with looks at values where the run stands when it is asked for each of them in turn. They must be
  /// there until then, also those that no later step reads: a product takes its operand from in front of a transposition.
  fileprivate func looking(at stops: [Int], _ program: Program) -> [Instruction] {
    var made: [Int: Int] = [:]
    for (position, instruction) in enumerated() { for id in instruction.makes(program) { made[id] = position } }
    var looks: [Int: [Int]] = [:]  // by position
    var reached = 0
    for id in stops {
      guard let position = made[id] else { continue }
      reached = Swift.max(reached, position)
      looks[reached, default: []].append(id)
    }
    return enumerated().flatMap { position, instruction in [instruction] + (looks[position] ?? []).map { .look($0) } }
  }
}
