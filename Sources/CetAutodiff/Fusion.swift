import CetOperators

/// Steps put together into instructions. A sum of which one term is a product (of matrices or a convolution) that nobody
/// else reads is one instruction: the product is computed on top of the other term. Steps that go through the rows of a
/// matrix are one, too (`RowGroup`).
enum Fusion {
  /// - Parameters:
  ///   - steps: in execution order.
  ///   - keep: values that are read by others than these steps.
  ///   - sums: whether products are computed on top of other terms, which changes last bits. Row groups change none.
  static func instructions(_ program: Program, _ steps: [Int], keep: Set<Int>, sums: Bool = true) -> [Instruction] {
    var grouping = RowGrouping(program, keep: keep, sums ? added(program, steps, keep: keep) : steps.map { .step($0) })
    return grouping.instructions()
  }

  private static func added(_ program: Program, _ steps: [Int], keep: Set<Int>) -> [Instruction] {
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
}
