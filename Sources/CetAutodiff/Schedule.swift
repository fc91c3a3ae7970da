import CetOperators
import CetTensor

/// Instructions in order, with the values that may go after each.
///
/// A sum of which one term is a product (of matrices or a convolution) that nobody else reads is one instruction: the
/// product is computed on top of the other term.
struct Schedule: Sendable {
  private struct Instruction: Sendable {
    let step: Int
    /// The value that the step's product is added to, and the value that the sum is.
    var sum: (addend: Int, result: Int)?
  }
  private let instructions: [Instruction]
  private let released: [[Int]]

  /// - Parameters:
  ///   - steps: in execution order.
  ///   - keep: values that are read after the last step.
  init(_ program: Program, steps: [Int], keep: Set<Int>) {
    let instructions = Schedule.fused(program, steps, keep)
    var released = [[Int]](repeating: [], count: instructions.count)
    var seen = keep
    for position in instructions.indices.reversed() {
      let instruction = instructions[position]
      let step = program.steps[instruction.step]
      var touched = step.inputs
      if let sum = instruction.sum { touched += [sum.addend, sum.result] } else { touched += step.outputs }
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
        return Instruction(step: steps[sum.position], sum: (sum.addend, result))
      }
      return taken.contains(position) ? nil : Instruction(step: steps[position])
    }
  }

  func run(_ program: Program, _ values: inout [Tensor?], _ context: ComputeContext) throws {
    for (position, instruction) in instructions.enumerated() {
      let step = program.steps[instruction.step]
      if let sum = instruction.sum {
        let last = released[position].contains(sum.addend)
        try program.execute(step, addingTo: sum.addend, last: last, into: sum.result, &values, context)
      } else {
        try program.execute(step, &values, context)
      }
      for id in released[position] { values[id] = nil }
    }
  }

  /// What `run` allocates and gives back, without computing. Beside its result a product may hold copies of its
  /// operands in another layout, and transformed weights (`Winograd`: 36 for 9).
  func simulate(_ program: Program, _ values: inout ValueModel, _ buffers: inout BufferModel) {
    for (position, instruction) in instructions.enumerated() {
      let step = program.steps[instruction.step]
      if let sum = instruction.sum {
        let last = released[position].contains(sum.addend)
        if !last || !values.replace(sum.addend, by: sum.result, &buffers) {
          values.make(sum.result, by: step, &buffers)
        }
      } else {
        for output in step.outputs { values.make(output, by: step, &buffers) }
      }
      if step.primitive is any AccumulatingPrimitive {
        var scratch = (step.inputs + step.outputs).map { program.values[$0].type.byteCount }
        scratch.append(4 * (scratch.min() ?? 0))
        for bytes in scratch { buffers.take(bytes) }
        for bytes in scratch { buffers.give(bytes) }
      }
      for id in released[position] { values.release(id, &buffers) }
    }
  }
}
