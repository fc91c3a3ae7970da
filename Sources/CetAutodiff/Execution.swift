import CetOperators
import CetTensor

extension Program {
  /// Runs one step: operands from the constants or from `values`, results into `values`.
  func execute(_ step: Step, _ values: inout [Tensor?], _ context: ComputeContext) throws {
    try context.interruption.check()
    let operands = try step.inputs.map { try operand($0, of: step, values) }
    let results = try located(step) { try step.primitive.run(operands, context) }
    for (id, tensor) in zip(step.outputs, results) { values[id] = tensor }
  }

  /// Runs the product `step` on top of the value `addend`.
  /// - Parameter last: whether nobody reads the addend any more; its memory is then used when nobody shares it.
  func execute(
    _ step: Step, addingTo addend: Int, last: Bool, into result: Int, _ values: inout [Tensor?], _ context: ComputeContext
  ) throws {
    guard let primitive = step.primitive as? any AccumulatingPrimitive else {
      throw CetError(.internal, "\(step.primitive.name) does not accumulate")
    }
    try context.interruption.check()
    let operands = try step.inputs.map { try operand($0, of: step, values) }
    var sum = try operand(addend, of: step, values)
    if last { values[addend] = nil }
    if !sum.isUniquelyHeld() { sum = try sum.copied(arena: context.arena) }
    values[result] = try located(step) { try primitive.run(operands, addingTo: sum, context) }
  }

  func execute(_ group: RowGroup, _ values: inout [Tensor?], _ context: ComputeContext) throws {
    try context.interruption.check()
    let operands = try group.operands.map { try operand($0, of: group.step, values) }
    for (id, tensor) in try group.run(self, operands, context) { values[id] = tensor }
  }

  private func operand(_ id: Int, of step: Step, _ values: [Tensor?]) throws -> Tensor {
    if case .constant(let tensor) = sources[id] { return tensor }
    if let tensor = values[id] { return tensor }
    if case .input(let name) = sources[id] { throw CetError(.invalidArgument, "input '\(name)' is not given") }
    throw CetError(.internal, "step \(step.primitive.name) of node '\(step.origin)' lacks an operand")
  }

  private func located<Result>(_ step: Step, _ body: () throws -> Result) throws -> Result {
    do {
      return try body()
    } catch let error as CetError {
      throw error.at("node '\(step.origin)'")
    }
  }
}
