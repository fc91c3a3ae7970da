import CetOperators
import CetTensor

/// One call of a schedule.
enum Instruction: Sendable {
  case step(Int)
  /// The step's product is computed on top of `addend`, as the value `result`.
  case accumulate(step: Int, addend: Int, result: Int)
  case rows(RowGroup)

  func reads(_ program: Program) -> [Int] {
    switch self {
    case .step(let step): program.steps[step].inputs
    case .accumulate(let step, let addend, _): program.steps[step].inputs + [addend]
    case .rows(let group): group.operands
    }
  }

  func makes(_ program: Program) -> [Int] {
    switch self {
    case .step(let step): program.steps[step].outputs
    case .accumulate(_, _, let result): [result]
    case .rows(let group): group.results.map(\.id)
    }
  }
}

/// Instructions in order, with the values that may go after each.
///
/// A sum of which one term is a product (of matrices or a convolution) that nobody else reads is one instruction: the
/// product is computed on top of the other term. Steps that go through the rows of a matrix are one, too (`RowGroup`).
struct Schedule: Sendable {
  private let instructions: [Instruction]
  private let released: [[Int]]

  /// - Parameters:
  ///   - steps: in execution order.
  ///   - keep: values that are read after the last step.
  init(_ program: Program, steps: [Int], keep: Set<Int>) {
    var grouping = RowGrouping(program, keep: keep, Schedule.fused(program, steps, keep))
    let instructions = grouping.instructions()
    var released = [[Int]](repeating: [], count: instructions.count)
    var seen = keep
    for position in instructions.indices.reversed() {
      let touched = instructions[position].reads(program) + instructions[position].makes(program)
      for id in touched where seen.insert(id).inserted { released[position].append(id) }
    }
    self.instructions = instructions
    self.released = released
  }

  private static func fused(_ program: Program, _ steps: [Int], _ keep: Set<Int>) -> [Instruction] {
    var readers: [Int: Int] = [:]
    for index in steps { for input in program.steps[index].inputs { readers[input, default: 0] += 1 } }
    var place: [Int: Int] = [:]  // of the step that makes a value
    for (position, index) in steps.enumerated() { for output in program.steps[index].outputs { place[output] = position } }

    /// Where the product is made that the sum may take in; the later of two, which then lives the shortest.
    func product(_ step: Step) -> (position: Int, addend: Int)? {
      guard let primitive = step.primitive as? Binary, primitive.function == .add, let result = step.outputs.first,
        program.values[result].element == .float32, step.inputs[0] != step.inputs[1],
        step.inputs.allSatisfy({ program.values[$0].shape == program.values[result].shape })
      else { return nil }
      let terms = [(step.inputs[0], step.inputs[1]), (step.inputs[1], step.inputs[0])]
      return terms.compactMap { term, other in
        guard readers[term] == 1, !keep.contains(term), let position = place[term],
          program.steps[steps[position]].primitive is any AccumulatingPrimitive
        else { return nil }
        return (position, other)
      }.max { $0.0 < $1.0 }
    }
    var taken = Set<Int>()
    var sums: [Int: (position: Int, addend: Int)] = [:]
    for (position, index) in steps.enumerated() {
      if let found = product(program.steps[index]) {
        sums[position] = found
        taken.insert(found.position)
      }
    }
    return steps.indices.compactMap { position in
      if let sum = sums[position] {
        let result = program.steps[steps[position]].outputs[0]
        return .accumulate(step: steps[sum.position], addend: sum.addend, result: result)
      }
      return taken.contains(position) ? nil : .step(steps[position])
    }
  }

  func run(_ program: Program, _ values: inout [Tensor?], _ context: ComputeContext) throws {
    for (position, instruction) in instructions.enumerated() {
      switch instruction {
      case .step(let step): try program.execute(program.steps[step], &values, context)
      case .accumulate(let step, let addend, let result):
        let last = released[position].contains(addend)
        try program.execute(program.steps[step], addingTo: addend, last: last, into: result, &values, context)
      case .rows(let group): try program.execute(group, &values, context)
      }
      for id in released[position] { values[id] = nil }
    }
  }

  /// What `run` allocates and gives back, without computing. Beside its result a product may hold copies of its
  /// operands in another layout, and transformed weights (`Winograd`: 36 for 9).
  func simulate(_ program: Program, _ values: inout ValueModel, _ buffers: inout BufferModel) {
    func scratch(_ sizes: [Int]) {
      for bytes in sizes { buffers.take(bytes) }
      for bytes in sizes { buffers.give(bytes) }
    }
    for (position, instruction) in instructions.enumerated() {
      switch instruction {
      case .step(let step):
        for output in program.steps[step].outputs { values.make(output, by: program.steps[step], &buffers) }
      case .accumulate(let step, let addend, let result):
        if !released[position].contains(addend) || !values.replace(addend, by: result, &buffers) {
          values.make(result, by: program.steps[step], &buffers)
        }
      case .rows(let group):
        for id in group.made { values.make(id, &buffers) }
        scratch([group.scratchBytes])
        for result in group.results where result.id != result.memory { values.share(result.id, with: result.memory) }
        let kept = group.results.map(\.id)
        for id in group.made where !kept.contains(id) { values.release(id, &buffers) }
      }
      switch instruction {
      case .step(let step), .accumulate(let step, _, _):
        let step = program.steps[step]
        guard step.primitive is any AccumulatingPrimitive else { break }
        let sizes = (step.inputs + step.outputs).map { program.values[$0].type.byteCount }
        scratch(sizes + [4 * (sizes.min() ?? 0)])
      case .rows: break
      }
      for id in released[position] { values.release(id, &buffers) }
    }
  }
}
