import CetGraph
import CetOperators
import CetTensor

/// Directional derivatives of a model's output, exactly (forward mode), one group of parameters at a time: the
/// unmoved network runs once, a direction then computes only what lies behind its parameters.
public final class DirectionalProgram: Sendable {
  private let sources: NamedSources
  private let context: ComputeContext
  private let output: Value
  private let groups: [Group]
  private let staged: StagedProgram

  private struct Group: Sendable {
    var directions: [String: Value] = [:]
    /// nil when the output does not depend on the group.
    var tangent: Value?
  }

  /// - Parameters:
  ///   - groups: initializers, or probes, that move together.
  ///   - probes: of values of the graph.
  ///   - output: name of the graph value that is differentiated.
  public init(
    _ model: Model, batch: Batch, groups names: [[String]], probes: [String: [GridProbe]] = [:], output: String,
    _ context: ComputeContext
  ) throws(CetError) {
    let bound = try BatchProgram(model, batch: batch, parameters: names.flatMap { $0 }, probes: probes, context)
    let z = try bound.outputs([output])[0]
    groups = try names.map { members throws(CetError) in
      var group = Group()
      var along: [Value: Value] = [:]
      for name in members {
        let value = try bound.parameter(name)
        let direction = bound.emitter.source(.tangent(name), value.type)
        group.directions[name] = direction
        along[value] = direction
      }
      group.tangent = try Differentiate.tangents(of: [z], along: along, bound.emitter)[0]
      return group
    }
    self.output = z
    self.context = context
    sources = bound.sources
    staged = StagedProgram(
      bound.program, outputs: [z] + groups.compactMap(\.tangent), directions: groups.flatMap { $0.directions.values },
      apart: true, sums: false)
  }

  /// Values of the unmoved network.
  public struct Baseline: Sendable {
    fileprivate let prepared: StagedProgram.Prepared
    public let output: Tensor
  }

  public func baseline(_ batch: Batch, weights: [String: Tensor]) throws(CetError) -> Baseline {
    let prepared = try staged.prepare(sources.feeds(batch, weights), context)
    return Baseline(prepared: prepared, output: try staged.run(prepared, outputs: [output], context)[0])
  }

  /// The derivative of the output when a group's parameters move along `directions` (zero where none is given); nil
  /// where it is zero.
  public func derivative(_ baseline: Baseline, group: Int, directions: [String: Tensor]) throws(CetError) -> Tensor? {
    let group = groups[group]
    guard let tangent = group.tangent else { return nil }
    var moved: [Int: Tensor] = [:]
    for (name, value) in group.directions { moved[value.id] = try directions[name].or(.zeros(.float32, value.shape)) }
    return try staged.run(baseline.prepared, changed: moved, outputs: [tangent], context)[0]
  }
}
