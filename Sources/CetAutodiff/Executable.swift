import CetOperators
import CetTensor

/// A program made ready to run for fixed outputs: which steps, in which order, and when each value is last
/// used. Values that do not depend on the late sources (the direction of a Hessian product) are computed once
/// by `prepare` and can be kept between runs.
public final class Executable: Sendable {
  public let program: Program
  public let outputs: [Value]
  private let early: Schedule
  private let late: Schedule
  /// Values of the early part that the late part or the caller reads.
  private let handedOver: [Int]

  /// - Parameter lateSources: values that change from run to run while everything else stays.
  public init(_ program: Program, outputs: [Value], lateSources: [Value] = []) {
    self.program = program
    self.outputs = outputs
    let depends = program.dependents(of: lateSources)
    let steps = program.steps(for: outputs)
    let lateSteps = steps.filter { program.steps[$0].outputs.contains { depends[$0] } }
    let earlySteps = steps.filter { !program.steps[$0].outputs.contains { depends[$0] } }
    var handed: Set<Int> = []
    for index in lateSteps {
      for input in program.steps[index].inputs where !depends[input] { handed.insert(input) }
    }
    for output in outputs where !depends[output.id] { handed.insert(output.id) }
    handedOver = handed.filter { if case .constant = program.sources[$0] { false } else { true } }.sorted()
    early = Schedule(program, steps: earlySteps, keep: Set(handedOver))
    late = Schedule(program, steps: lateSteps, keep: Set(outputs.map(\.id)))
  }

  /// Values that the late part needs, computed once for a batch.
  public struct Prepared: @unchecked Sendable {
    fileprivate let values: [Int: Tensor]
  }

  public func prepare(_ feeds: [Int: Tensor], _ context: ComputeContext) throws -> Prepared {
    var values = [Tensor?](repeating: nil, count: program.values.count)
    for (id, tensor) in feeds { values[id] = tensor }
    try early.run(program, &values, context)
    var kept: [Int: Tensor] = [:]
    for id in handedOver {
      guard let tensor = values[id] else { throw missing(id) }
      kept[id] = tensor
    }
    return Prepared(values: kept)
  }

  public func run(_ prepared: Prepared, feeds: [Int: Tensor], _ context: ComputeContext) throws -> [Tensor] {
    var values = [Tensor?](repeating: nil, count: program.values.count)
    for (id, tensor) in prepared.values { values[id] = tensor }
    for (id, tensor) in feeds { values[id] = tensor }
    // What depends on the direction is linear in it: no kink is decided there.
    try late.run(program, &values, context.fast)
    return try outputs.map { output in
      if case .constant(let tensor) = program.sources[output.id] { return tensor }
      guard let tensor = values[output.id] else { throw missing(output.id) }
      return tensor
    }
  }

  public func run(_ feeds: [Int: Tensor], _ context: ComputeContext) throws -> [Tensor] {
    try run(prepare(feeds, context), feeds: [:], context)
  }

  /// Goes through one run without computing; returns the bytes of what `prepare` hands over.
  func simulate(_ buffers: inout BufferModel) -> Int {
    var values = ValueModel(program)
    early.simulate(program, &values, &buffers)
    let kept = values.byteCount(handedOver)
    late.simulate(program, &values, &buffers)
    values.releaseAll(&buffers)
    return kept
  }

  private func missing(_ id: Int) -> CetError {
    switch program.sources[id] {
    case .input(let name): CetError(.invalidArgument, "input '\(name)' is not given")
    case .parameter(let name), .tangent(let name): CetError(.internal, "parameter '\(name)' is not given")
    default: CetError(.internal, "value \(id) was not computed")
    }
  }
}
