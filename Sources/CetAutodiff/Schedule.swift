import CetOperators
import CetTensor

/// Instructions in order, with the values that may go after each: the one place that knows how long a value lives.
struct Schedule: Sendable {
  let instructions: [Instruction]
  let released: [[Int]]

  /// - Parameter keep: values that are read after the last instruction.
  init(_ program: Program, _ instructions: [Instruction], keep: Set<Int>) {
    var released = [[Int]](repeating: [], count: instructions.count)
    var seen = keep
    for position in instructions.indices.reversed() {
      let touched = instructions[position].reads(program) + instructions[position].makes(program)
      for id in touched where seen.insert(id).inserted { released[position].append(id) }
    }
    self.instructions = instructions
    self.released = released
  }

  func run(_ values: inout RunValues, _ context: ComputeContext) throws(CetError) {
    for position in instructions.indices { try run(at: position, &values, context) }
  }

  func run(at position: Int, _ values: inout RunValues, _ context: ComputeContext) throws(CetError) {
    try instructions[position].run(&values, released: released[position], context)
    for id in released[position] { values[id] = nil }
  }

  /// What `run` allocates and gives back, without computing.
  func walk(_ memory: inout MemoryWalk) {
    for (instruction, released) in zip(instructions, released) {
      instruction.walk(&memory, released: released)
      for id in released { memory.release(id) }
    }
  }
}

extension [Instruction] {
  /// For every value whether it is made anew when `sources` change.
  func dependents(of sources: some Sequence<Int>, _ program: Program) -> [Bool] {
    var depends = [Bool](repeating: false, count: program.values.count)
    for source in sources { depends[source] = true }
    for instruction in self where instruction.reads(program).contains(where: { depends[$0] }) {
      for id in instruction.makes(program) { depends[id] = true }
    }
    return depends
  }

  /// Values that an instruction reads which depends on one of the sources, while they do not: what is read again when only
  /// that source changes.
  func independentReads(of sources: [Int], _ program: Program) -> Set<Int> {
    var found: Set<Int> = []
    // A bit a source, 64 of them at a time.
    for first in stride(from: 0, to: sources.count, by: UInt64.bitWidth) {
      var depends = [UInt64](repeating: 0, count: program.values.count)
      for (bit, source) in sources[first..<Swift.min(first + UInt64.bitWidth, sources.count)].enumerated() { depends[source] |= 1 << bit }
      for instruction in self {
        let reads = instruction.reads(program)
        let all = reads.reduce(0) { $0 | depends[$1] }
        guard all != 0 else { continue }
        for id in reads where depends[id] != all { found.insert(id) }
        for id in instruction.makes(program) { depends[id] |= all }
      }
    }
    return found
  }
}
