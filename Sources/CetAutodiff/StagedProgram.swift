import CetOperators
import CetTensor

/// A program made ready to run for fixed outputs, in stages. What depends on constants alone was computed when the program
/// was made. A first stage computes the rest once for a batch and leaves what later ones read. A later stage computes what
/// depends on sources that get another value: weights, or the directions of a derivative, which have none before.
public final class StagedProgram: Sendable {
  public let program: Program
  public let outputs: [Value]
  /// Of all stages.
  private let instructions: [Instruction]
  private let first: Schedule
  /// Values that the first stage leaves to later ones and to the caller.
  private let handedOver: [Int]
  private let later = Memo<Set<Int>, Schedule>()

  /// - Parameters:
  ///   - directions: sources that get their values in a later stage only.
  ///   - apart: whether some directions may get theirs without the others. Steps of the later stage stay by themselves then:
  ///     one instruction for several could not run without all that it reads.
  ///   - weights: sources that may get another value in a later stage, some of them at a time.
  ///   - sums: see `Fusion`.
  public init(
    _ program: Program, outputs: [Value], directions: [Value] = [], apart: Bool = false, weights: [Value] = [], sums: Bool = true
  ) {
    self.program = program
    self.outputs = outputs
    let isLate = program.dependents(of: directions)
    let steps = program.steps(for: outputs)
    let lateSteps = steps.filter { program.steps[$0].outputs.contains { isLate[$0] } }
    let firstSteps = steps.filter { !program.steps[$0].outputs.contains { isLate[$0] } }
    let asked = Set(outputs.map(\.id))
    var handed = asked.union(lateSteps.flatMap { program.steps[$0].inputs })
    let firstInstructions = Fusion.instructions(program, firstSteps, keep: handed, sums: sums)
    instructions = firstInstructions
      + (apart ? lateSteps.map { .step($0) } : Fusion.instructions(program, lateSteps, keep: asked, sums: sums))
    handed.formUnion(firstInstructions.independentReads(of: weights.map(\.id), program))
    first = Schedule(program, firstInstructions, keep: handed)
    handedOver = handed.filter { id in
      if case .constant = program.sources[id] { return false }
      return !isLate[id]
    }.sorted()
  }

  /// What the first stage leaves for a batch.
  public struct Prepared: @unchecked Sendable {
    fileprivate let tensors: [Int: Tensor]
  }

  /// The first stage.
  public func prepare(_ feeds: [Int: Tensor], _ context: ComputeContext) throws(CetError) -> Prepared {
    var values = RunValues(program, feeds)
    try first.run(&values, context)
    let tensors = try handedOver.map { id throws(CetError) in (id, try values.fetch(id)) }
    return Prepared(tensors: Dictionary(uniqueKeysWithValues: tensors))
  }

  /// The stage of what depends on `changed`, and then the outputs, or those that are asked for.
  public func run(
    _ prepared: Prepared, changed: [Int: Tensor] = [:], outputs asked: [Value]? = nil, _ context: ComputeContext
  ) throws(CetError) -> [Tensor] {
    var values = RunValues(program, prepared.tensors)
    values.feed(changed)
    if !changed.isEmpty { try schedule(Set(changed.keys)).run(&values, context) }
    return try (asked ?? outputs).map { value throws(CetError) in try values.fetch(value.id) }
  }

  /// Runs both stages.
  public func run(_ feeds: [Int: Tensor], _ context: ComputeContext) throws(CetError) -> [Tensor] {
    try run(prepare(feeds, context), context)
  }

  /// Goes through a first stage and through later ones, by what changes, one after the other; computes nothing.
  /// - Parameter goesOn: asked before every change; the rest is left out when it does not.
  /// - Returns: bytes that the first stage leaves.
  func walk(_ memory: inout MemoryWalk, changes: [[Value]] = [], while goesOn: () -> Bool = { true }) -> Int {
    first.walk(&memory)
    let kept = memory.byteCount(handedOver)
    for changed in changes where goesOn() { memory.beside { schedule(Set(changed.map(\.id))).walk(&$0) } }
    memory.releaseAll()
    return kept
  }

  private func schedule(_ changed: Set<Int>) -> Schedule {
    later.value(changed) {
      let depends = instructions.dependents(of: changed, program)
      let affected = instructions.filter { $0.makes(program).contains { depends[$0] } }
      return Schedule(program, affected, keep: Set(outputs.map(\.id)))
    }
  }
}
