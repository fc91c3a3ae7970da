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
    var probes: [String: [GridProbe]] = [:]
    var names: [String] = []
    for (activation, grids) in zip(bound.activations.all, grids) {
      for (place, grid) in grids.enumerated() {
        // No value of a graph has such a name twice: that of the activation is its own, and a number follows.
        let name = "\(activation.name)\u{0}\(place)"
        probes[activation.name, default: []].append(GridProbe(name: name, grid: try grid.tensor()))
        names.append(name)
      }
    }
    let whole = try Tensor(scalar: Float(1))
    var sums = [Double](repeating: 0, count: names.count)
    let known = try SecondOrderMeasurement(bound, batches).run(
      groups: names.map { [$0] }, probes: probes, directions: names.map { [[$0: whole]] }, progress: progress
    ) { _, gradient, u in
      for place in sums.indices { sums[place] += gradient[place] + 0.5 * u[place].reduce(0.0) { $0 + Double($1) * Double($1) } }
    }
    guard known else { return nil }
    let samples = Double(max(1, batches.reduce(0) { $0 + $1.sampleCount }))
    var rest = sums[...]
    return grids.map { grids in
      defer { rest = rest.dropFirst(grids.count) }
      return rest.prefix(grids.count).map { $0 / samples }
    }
  }
}
