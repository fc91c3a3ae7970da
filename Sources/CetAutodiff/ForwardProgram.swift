import CetGraph
import CetOperators
import CetTensor

/// A model bound to one batch shape for forward runs in which some initializers are replaced: a rerun computes
/// only what depends on the replaced ones.
public final class ForwardProgram: Sendable {
  private let program: Program
  private let sources: NamedSources
  private let outputs: [Value]
  private let context: ComputeContext
  /// By whether the program can rerun. Each is made when it is needed: of an unrolled network, ordering thousands of steps
  /// takes as long as computing them.
  private let made = Memo<Bool, StagedProgram>()

  /// - Parameters:
  ///   - parameters: names of initializers that a rerun may replace.
  ///   - grids: values that are rounded, with the names of the grids that a rerun may replace.
  ///   - outputs: names of graph values to compute.
  public init(
    _ model: Model, batch: Batch, parameters: [String], grids: [String: String] = [:], outputs names: [String],
    _ context: ComputeContext
  ) throws(CetError) {
    let bound = try BatchProgram(model, batch: batch, parameters: parameters, grids: grids, context)
    outputs = try bound.outputs(names)
    program = bound.program
    sources = bound.sources
    self.context = context.fast  // nothing is differentiated at a kink here
  }

  /// Gives values back as soon as they are not needed.
  private var whole: StagedProgram { made.value(false) { StagedProgram(program, outputs: outputs) } }
  /// Leaves what reruns read.
  private var staged: StagedProgram {
    made.value(true) { StagedProgram(program, outputs: outputs, weights: Array(sources.parameters.values), sums: false) }
  }

  /// What a run leaves for reruns.
  public struct Baseline: Sendable {
    fileprivate let prepared: StagedProgram.Prepared
    public let outputs: [Tensor]
  }

  /// The outputs alone.
  public func run(_ batch: Batch, weights: [String: Tensor]) throws(CetError) -> [Tensor] {
    try whole.run(sources.feeds(batch, weights), context)
  }

  public func baseline(_ batch: Batch, weights: [String: Tensor]) throws(CetError) -> Baseline {
    let prepared = try staged.prepare(sources.feeds(batch, weights), context)
    return Baseline(prepared: prepared, outputs: try staged.run(prepared, context))
  }

  /// The outputs with `changed` initializers in place of the baseline's.
  public func rerun(_ baseline: Baseline, changed: [String: Tensor]) throws(CetError) -> [Tensor] {
    try staged.run(baseline.prepared, changed: sources.feeds(changed), context)
  }

  /// Elements of all values of one run: a measure of its work.
  public var elementCount: Int {
    program.steps(for: outputs).reduce(0) { sum, index in
      sum + program.steps[index].outputs.reduce(0) { $0 + program.values[$1].count }
    }
  }

  /// Bytes of all values that one run makes.
  public var madeByteCount: Int {
    program.steps(for: outputs).reduce(0) { sum, index in
      sum + program.steps[index].outputs.reduce(0) { $0 + program.values[$1].type.byteCount }
    }
  }

  /// Bytes that a baseline, and a rerun beside it, hold at most.
  public var byteCount: Int {
    get throws(CetError) {
      var memory = MemoryWalk(program)
      // A walk a weight: of thousands it takes seconds.
      let changes = sources.parameters.values.map { [$0] }
      _ = staged.walk(&memory, changes: changes, while: { (try? context.interruption.check()) != nil })
      try context.interruption.check()
      return memory.byteCount
    }
  }

  /// Bytes of the values that a run holds at a time, at most; buffers that wait to be used again are not among them.
  public var liveByteCount: Int {
    var memory = MemoryWalk(program)
    _ = whole.walk(&memory)
    return memory.heldByteCount
  }

  public var outputTypes: [TensorType] { outputs.map(\.type) }

  public var outputByteCount: Int { outputs.reduce(0) { $0 + $1.type.byteCount } }
}
