import CetOperators
import CetTensor

/// One call of a schedule.
enum Instruction: Sendable {
  case step(Int)
  /// The step's product is computed on top of `addend`, as the value `result`.
  case accumulate(step: Int, addend: Int, result: Int)
  case rows(RowGroup)
  /// The run's owner looks at a value here.
  case look(Int)

  func reads(_ program: Program) -> [Int] {
    switch self {
    case .step(let step): program.steps[step].inputs
    case .accumulate(let step, let addend, _): program.steps[step].inputs + [addend]
    case .rows(let group): group.operands
    case .look(let value): [value]
    }
  }

  func makes(_ program: Program) -> [Int] {
    switch self {
    case .step(let step): program.steps[step].outputs
    case .accumulate(_, _, let result): [result]
    case .rows(let group): group.results.map(\.id)
    case .look: []
    }
  }

  /// Operands are taken from `values`, and results put there.
  /// - Parameter released: values that nobody reads afterwards; the memory of an addend among them is used for the sum when
  ///   nobody shares it.
  func run(_ values: inout RunValues, released: [Int] = [], _ context: ComputeContext) throws(CetError) {
    try context.interruption.check()
    let program = values.program
    switch self {
    case .step(let index):
      let step = program.steps[index]
      let operands = try step.inputs.map { id throws(CetError) in try values.fetch(id) }
      let results = try step.located(step.primitive.run(operands, context))
      for (id, tensor) in zip(step.outputs, results) { values[id] = tensor }
    case .accumulate(let index, let addend, let result):
      let step = program.steps[index]
      guard let primitive = step.primitive as? any AccumulatingPrimitive else {
        throw CetError(.internal, "\(step.primitive.name) does not accumulate")
      }
      let operands = try step.inputs.map { id throws(CetError) in try values.fetch(id) }
      var sum = try values.fetch(addend)
      if released.contains(addend) { values[addend] = nil }
      if !sum.isUniquelyHeld() { sum = try sum.copied(arena: context.arena) }
      values[result] = try step.located(primitive.run(operands, addingTo: sum, context))
    case .rows(let group):
      let operands = try group.operands.map { id throws(CetError) in try values.fetch(id) }
      for (id, tensor) in try group.run(program, operands, context) { values[id] = tensor }
    case .look: break
    }
  }

  /// What `run` allocates and gives back, without computing. Beside its result a product may hold copies of its
  /// operands in another layout, and transformed weights (`Winograd`: 36 for 9).
  func walk(_ memory: inout MemoryWalk, released: [Int]) {
    let program = memory.program
    switch self {
    case .step(let index):
      for output in program.steps[index].outputs { memory.make(output, by: program.steps[index]) }
      memory.scratch(program.scratchSizes(index))
    case .accumulate(let index, let addend, let result):
      if !released.contains(addend) || !memory.replace(addend, by: result) { memory.make(result) }
      memory.scratch(program.scratchSizes(index))
    case .rows(let group):
      for id in group.made { memory.make(id) }
      memory.scratch([group.scratchBytes])
      for result in group.results where result.id != result.memory { memory.share(result.id, with: result.memory) }
      let kept = group.results.map(\.id)
      for id in group.made where !kept.contains(id) { memory.release(id) }
    case .look: break
    }
  }
}

extension Step {
  fileprivate func located<Result>(_ body: @autoclosure () throws(CetError) -> Result) throws(CetError) -> Result {
    do {
      return try body()
    } catch {
      throw error.at(.node(origin))
    }
  }
}

extension Program {
  fileprivate func scratchSizes(_ index: Int) -> [Int] {
    let step = steps[index]
    guard step.primitive is any AccumulatingPrimitive else { return [] }
    let sizes = (step.inputs + step.outputs).map { values[$0].type.byteCount }
    return sizes + [4 * (sizes.min() ?? 0)]
  }
}
