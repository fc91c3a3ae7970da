import CetAutodiff
import CetLayers
import CetQuantize
import CetTensor

/// gᵀδ + ½ δᵀHδ of activations that are rounded alone, δ = x̂ − x: exact directional derivatives of the output along x + t·δ, as
/// `SecondOrderMeasurement` has them of weights.
public struct ActivationSecondOrder {
  private let bound: BoundModel
  private let batches: [Batch]

  public init(_ bound: BoundModel, _ batches: [Batch]) {
    self.bound = bound
    self.batches = batches
  }

  /// Mean over the samples, of each grid that an activation is rounded to; nil where there is no such loss or derivative.
  /// - Parameter progress: batches done, of how many.
  public func run(
    _ grids: [[ActivationGrid]], progress: (Int, Int) throws(CetError) -> Void = { _, _ in }
  ) throws(CetError) -> [[Double]]? {
    guard bound.loss != .output, !batches.isEmpty else { return nil }
    var probes: [String: [GridProbe]] = [:]
    var names: [[String]] = []
    for (activation, grids) in zip(bound.activations.all, grids) {
      for (place, grid) in grids.enumerated() {
        // No value of a graph has such a name twice: that of the activation is its own, and a number follows.
        let name = "\(activation.name)\u{0}\(place)"
        probes[activation.name, default: []].append(GridProbe(name: name, grid: try grid.tensor()))
        names.append([name])
      }
    }
    guard let programs = try programs(names, probes) else { return nil }
    let (still, moved) = (try Tensor(scalar: Float(0)), try Tensor(scalar: Float(1)))
    let weights = bound.weights.merging(names.map { ($0[0], still) }) { $1 }
    var sums = [Double](repeating: 0, count: names.count)
    try bound.workers.ordered(batches.count) { position in
      let batch = batches[position]
      guard let program = programs[batch.signature] else { throw CetError(.internal, "a batch has no program") }
      let baseline = try program.baseline(batch, weights: weights)
      let form = try LossForm(bound.loss, output: baseline.output.rowMajor(), labels: batch.labels)
      return try names.indices.map { group in
        let change = try program.derivative(baseline, group: group, directions: [names[group][0]: moved])?.array(as: Float.self) ?? []
        return form.slope(change) + 0.5 * form.root(change).reduce(0.0) { $0 + Double($1) * Double($1) }
      }
    } combine: { position, part in
      for group in sums.indices { sums[group] += part[group] }
      try progress(position + 1, batches.count)
    }
    let samples = Double(max(1, batches.reduce(0) { $0 + $1.sampleCount }))
    var rest = sums[...]
    return grids.map { grids in
      defer { rest = rest.dropFirst(grids.count) }
      return rest.prefix(grids.count).map { $0 / samples }
    }
  }

  /// By batch shape; nil when an operator has no derivative.
  private func programs(_ names: [[String]], _ probes: [String: [GridProbe]]) throws(CetError) -> [Batch.Signature: DirectionalProgram]? {
    var programs: [Batch.Signature: DirectionalProgram] = [:]
    for batch in batches where programs[batch.signature] == nil {
      do {
        programs[batch.signature] = try DirectionalProgram(
          bound.model, batch: batch, groups: names, probes: probes, output: bound.output, bound.context)
      } catch {
        guard error.code == .unsupportedOperator else { throw error }
        return nil
      }
    }
    return programs
  }
}
