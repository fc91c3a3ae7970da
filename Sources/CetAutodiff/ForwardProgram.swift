import CetGraph
import CetOperators
import CetTensor

/// A model bound to one batch shape for forward runs in which some initializers are replaced: a rerun computes
/// only what depends on the replaced ones.
public final class ForwardProgram: @unchecked Sendable {
  private let program: Program
  private let inputs: [String: Value]
  private let parameters: [String: Value]
  private let outputs: [Value]
  private let context: ComputeContext
  private let steps: [Int]
  private let lock = Lock()
  private var suffixes: [Set<String>: Suffix] = [:]
  /// Made with the first run: of an unrolled network, ordering thousands of steps takes as long as computing them.
  private var order: Executable?

  private struct Suffix {
    let steps: [Int]
    let released: [[Int]]
    /// Per output whether it changes.
    let affected: [Bool]
  }

  /// - Parameters:
  ///   - parameters: names of initializers that a rerun may replace.
  ///   - outputs: names of graph values to compute.
  public init(
    _ model: Model, batch: Batch, parameters: [String], outputs: [String], _ context: ComputeContext
  ) throws {
    let bound = try BatchProgram(
      model, batch: batch, parameters: parameters, context)
    program = bound.program
    inputs = bound.inputs
    self.parameters = bound.parameters
    self.outputs = try bound.outputs(outputs)
    self.context = context.fast  // nothing is differentiated at a kink here
    steps = program.steps(for: self.outputs)
  }

  /// Every value of a run, kept for reruns.
  public struct Baseline: @unchecked Sendable {
    fileprivate let values: [Tensor?]
    public let outputs: [Tensor]
  }

  /// Elements of all values of one run: a measure of its work.
  public var elementCount: Int {
    steps.reduce(0) { $0 + program.steps[$1].outputs.reduce(0) { $0 + program.values[$1].count } }
  }

  /// Bytes of all values of one run.
  public var byteCount: Int {
    steps.reduce(0) { $0 + program.steps[$1].outputs.reduce(0) { $0 + program.values[$1].type.byteCount } }
  }

  /// Bytes of those that a run holds at a time when it gives the others back.
  public var liveByteCount: Int {
    var buffers = BufferModel()
    _ = Executable(program, outputs: outputs).simulate(&buffers)
    return buffers.byteCount
  }

  public var outputByteCount: Int { outputs.reduce(0) { $0 + $1.type.byteCount } }

  /// The outputs alone; inner values are given back as soon as they are not needed.
  public func run(_ batch: Batch, weights: [String: Tensor]) throws -> [Tensor] {
    let executable = lock.withLock {
      let made = order ?? Executable(program, outputs: outputs)
      order = made
      return made
    }
    return try executable.run(feeds(batch, weights), context)
  }

  public func baseline(_ batch: Batch, weights: [String: Tensor]) throws -> Baseline {
    var values = [Tensor?](repeating: nil, count: program.values.count)
    for (id, tensor) in feeds(batch, weights) { values[id] = tensor }
    for index in steps { try execute(index, &values) }
    return Baseline(values: values, outputs: try outputs.map { try result($0, values) })
  }

  /// The outputs with `changed` initializers in place of the baseline's.
  public func rerun(_ baseline: Baseline, changed: [String: Tensor]) throws -> [Tensor] {
    let suffix = suffix(for: Set(changed.keys))
    var values = baseline.values
    for (name, tensor) in changed {
      if let value = parameters[name] { values[value.id] = tensor }
    }
    for (position, index) in suffix.steps.enumerated() {
      try execute(index, &values)
      for id in suffix.released[position] { values[id] = nil }
    }
    return try outputs.map { try result($0, values) }
  }

  private func suffix(for names: Set<String>) -> Suffix {
    if let found = lock.withLock({ suffixes[names] }) { return found }
    let depends = program.dependents(of: names.compactMap { parameters[$0] })
    let kept = steps.filter { program.steps[$0].outputs.contains { depends[$0] } }
    var released = [[Int]](repeating: [], count: kept.count)
    var seen = Set(outputs.map(\.id))
    for position in kept.indices.reversed() {
      let step = program.steps[kept[position]]
      for id in step.inputs + step.outputs where depends[id] && seen.insert(id).inserted {
        released[position].append(id)
      }
    }
    let made = Suffix(steps: kept, released: released, affected: outputs.map { depends[$0.id] })
    lock.withLock { suffixes[names] = made }
    return made
  }

  private func feeds(_ batch: Batch, _ weights: [String: Tensor]) -> [Int: Tensor] {
    var feeds: [Int: Tensor] = [:]
    for (name, value) in inputs { feeds[value.id] = batch.inputs[name] }
    for (name, value) in parameters { feeds[value.id] = weights[name] }
    return feeds
  }

  private func execute(_ index: Int, _ values: inout [Tensor?]) throws {
    try program.execute(program.steps[index], &values, context)
  }

  private func result(_ value: Value, _ values: [Tensor?]) throws -> Tensor {
    if case .constant(let tensor) = program.sources[value.id] { return tensor }
    guard let tensor = values[value.id] else { throw CetError(.internal, "value \(value.id) was not computed") }
    return tensor
  }
}
