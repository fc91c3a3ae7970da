import CetAutodiff
import CetGraph
import CetTensor
import Testing

@testable import CetMeasure

@Suite struct PairedMeasurementTests {
  /// y = relu(x·a)·b + relu(x·a), measured at b with another a in the second network.
  @Test func momentsOfBothNetworksAndTheResidual() throws {
    let nodes = [
      Node("MatMul", inputs: ["x", "a"], outputs: ["p"]), Node("Relu", inputs: ["p"], outputs: ["h"]),
      Node("MatMul", inputs: ["h", "b"], outputs: ["q"]), Node("Add", inputs: ["q", "h"], outputs: ["y"]),
    ]
    let bound = try boundModel(nodes, [weight("a", 3, 4, seed: 1), weight("b", 4, 4, seed: 2)], threads: 2)
    #expect(bound.residual(of: 1)?.name == "h")
    let batches = [try batch(["x": drawn(5, 3, seed: 3)]), try batch(["x": drawn(4, 3, seed: 4)])]
    let changed = bound.weights.merging(["a": try drawn(3, 4, seed: 9)]) { $1 }
    func hidden(_ weights: [String: Tensor]) throws -> [[Float]] {
      try batches.flatMap { try rows(bound.programs.forward($0, outputs: ["h"]).run($0, weights: weights)[0], 4) }
    }
    func cursors(_ weights: [String: Tensor]) throws -> [ForwardCursor] {
      try batches.map {
        let route = try ForwardRoute(
          bound.model, batch: $0, parameters: Array(weights.keys), stops: ["x", "h", "h"], outputs: ["y"], bound.context)
        return ForwardCursor(route, $0, weights: weights, bound.context)
      }
    }
    let measurement = PairedMeasurement(
      bound, all(batches), fp32: try cursors(bound.weights), quantized: try cursors(changed))
    let group = try measurement.statistics(1, needsVariance: true).groups[0]
    let (f, q) = (try hidden(bound.weights), try hidden(changed))
    let difference = zip(f, q).map { zip($0, $1).map { $0 - $1 } }
    let (own, other, residual) = (PlainMoments(f), PlainMoments(q), PlainMoments(difference, q))
    #expect(group.count == 9)
    #expect(distance(group.meanF, own.mean) < 1e-6 && distance(group.covarianceF, own.covariance) < 1e-6)
    #expect(distance(group.meanQ, other.mean) < 1e-6 && distance(group.covariance, other.covariance) < 1e-6)
    #expect(distance(group.cross, PlainMoments(f, q).covariance) < 1e-6)
    #expect(distance(group.residualMean, residual.mean) < 1e-6 && distance(group.residual, residual.covariance) < 1e-6)
  }

  @Test(arguments: [1, 2])
  func convolution_isInTheOrderOfTheWeights(_ groups: Int) throws {
    let nodes = [
      Node("Conv", inputs: ["x", "a"], outputs: ["h"]),
      Node("Conv", inputs: ["h", "b"], outputs: ["y"], attributes: ["group": .int(Int64(groups))]),
    ]
    let bound = try boundModel(nodes, [weight("a", 2, 1, 1, 1, seed: 1), weight("b", 2, 2 / groups, 1, 2, seed: 2)])
    let data = try batch(["x": drawn(3, 1, 1, 6, seed: 3)])
    let changed = bound.weights.merging(["a": try drawn(2, 1, 1, 1, seed: 9)]) { $1 }
    let route = try ForwardRoute(
      bound.model, batch: data, parameters: Array(changed.keys), stops: ["h"], outputs: ["y"], bound.context)
    let measurement = PairedMeasurement(
      bound, all([data]), fp32: [ForwardCursor(route, data, weights: bound.weights, bound.context)],
      quantized: [ForwardCursor(route, data, weights: changed, bound.context)])
    let program = try bound.programs.forward(data, outputs: ["h"])
    let f = try program.run(data, weights: bound.weights)[0].rowMajor()
    let q = try program.run(data, weights: changed)[0].rowMajor()
    for (number, group) in try measurement.statistics(1, needsVariance: false).groups.enumerated() {
      let channels = groups == 1 ? 0..<2 : number..<(number + 1)
      let (a, b) = (windows(f, channels: channels), windows(q, channels: channels))
      #expect(group.covarianceF.isEmpty && group.residual.isEmpty)
      #expect(distance(group.meanF, PlainMoments(a).mean) < 1e-6 && distance(group.meanQ, PlainMoments(b).mean) < 1e-6)
      #expect(distance(group.covariance, PlainMoments(b).covariance) < 1e-6)
      #expect(distance(group.cross, PlainMoments(a, b).covariance) < 1e-6)
    }
  }
}
