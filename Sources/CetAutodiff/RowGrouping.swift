import CetOperators
import CetTensor

/// Puts steps that go through the rows of one matrix together (`RowGroup`). Such a step waits until somebody else reads
/// what it makes, and runs then with all that wait for the same rows.
struct RowGrouping {
  private struct Waiting {
    let domain: RowDomain
    let first: Int
    var steps: [Int] = []
    var made: Set<Int> = []
  }
  private let program: Program
  private let keep: Set<Int>
  private let given: [Instruction]
  /// How often a value is read.
  private var readers: [Int: Int] = [:]
  /// Values that may lie with their channels last: they would be rearranged.
  private let rearranged: [Bool]
  private var waiting: [Waiting] = []
  private var result: [Instruction] = []

  /// Below, a call costs more than memory does.
  private static let leastWidth = 16
  private static let leastCount = 1 << 12
  /// Steps wait no longer than this many others, so that what they read does not stay for long.
  private static let patience = 24

  init(_ program: Program, keep: Set<Int>, _ instructions: [Instruction]) {
    self.program = program
    self.keep = keep
    given = instructions
    for instruction in instructions { for id in instruction.reads(program) { readers[id, default: 0] += 1 } }
    var rearranged = [Bool](repeating: false, count: program.values.count)
    for step in program.steps {
      let isSource = step.primitive is Convolve
      let isPlain = step.primitive is Reshape || step.primitive is MatrixProduct || step.primitive is Softmax
      guard isSource || !isPlain && step.inputs.contains(where: { rearranged[$0] }) else { continue }
      for output in step.outputs { rearranged[output] = program.values[output].rank >= 3 }
    }
    self.rearranged = rearranged
  }

  mutating func instructions() -> [Instruction] {
    for (position, instruction) in given.enumerated() {
      let reads = instruction.reads(program)
      let place = place(of: instruction)
      for index in waiting.indices.reversed() {
        let isLate = position - waiting[index].first > RowGrouping.patience
        if isLate || waiting[index].domain != place && !waiting[index].made.isDisjoint(with: reads) {
          finish(waiting.remove(at: index))
        }
      }
      guard case .step(let index) = instruction, let place else {
        result.append(instruction)
        continue
      }
      let slot = waiting.firstIndex { $0.domain == place } ?? waiting.endIndex
      if slot == waiting.endIndex { waiting.append(Waiting(domain: place, first: position)) }
      waiting[slot].steps.append(index)
      waiting[slot].made.formUnion(program.steps[index].outputs)
    }
    for group in waiting { finish(group) }
    waiting = []
    return result
  }

  /// The rows that an instruction goes through, as others do; nil where it does not.
  private func place(of instruction: Instruction) -> RowDomain? {
    guard case .step(let index) = instruction else { return nil }
    let step = program.steps[index]
    guard !(step.inputs + step.outputs).contains(where: { rearranged[$0] }) else { return nil }
    let output = program.values[step.outputs[0]]
    let shape = (output.shape.last ?? 1) > 1 ? output.shape : program.values[step.inputs[0]].shape
    if let width = shape.last, width >= RowGrouping.leastWidth {
      let domain = RowDomain(rows: shape.elementCount / width, width: width)
      return shape.elementCount >= RowGrouping.leastCount && RowWork(step, in: domain, program) != nil ? domain : nil
    }
    // One number a row: together with what the rows are.
    let group = waiting.first { group in step.inputs.contains { group.made.contains($0) } }
    return group.flatMap { RowWork(step, in: $0.domain, program) != nil ? $0.domain : nil }
  }

  private mutating func finish(_ group: Waiting) {
    let work = group.steps.filter { !(program.steps[$0].primitive is Reshape) }
    guard work.count > 1 else {
      result += group.steps.map { .step($0) }
      return
    }
    var inside: [Int: Int] = [:]
    for index in group.steps { for input in program.steps[index].inputs { inside[input, default: 0] += 1 } }
    let rows = RowGroup(group.steps, in: group.domain, program) { id in
      keep.contains(id) || (readers[id] ?? 0) > (inside[id] ?? 0)
    }
    result.append(.rows(rows))
  }
}
