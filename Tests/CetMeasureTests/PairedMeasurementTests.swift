import CetAutodiff
import CetGraph
import CetQuantize
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
    let readings = UnquantizedReadings(room: 1 << 20)
    func measured(_ unquantized: [String: Tensor], hasVariance: Bool) throws -> PairedStatistics.Group {
      try PairedMeasurement(
        bound, all(batches), UnquantizedReader(bound, all(batches), cursors(unquantized), readings), quantized: cursors(changed)
      ).statistics(1, needsVariance: hasVariance).groups[0]
    }
    let group = try measured(bound.weights, hasVariance: true)
    let (f, q) = (try hidden(bound.weights), try hidden(changed))
    let difference = zip(f, q).map { zip($0, $1).map { $0 - $1 } }
    let (own, other, residual) = (PlainMoments(f), PlainMoments(q), PlainMoments(difference, q))
    #expect(group.count == 9)
    #expect(distance(inputs(group.meanF), own.mean) < 1e-6 && distance(inputs(group.varianceF), own.covariance) < 1e-6)
    #expect(distance(group.meanQ, other.mean) < 1e-6 && distance(group.covariance, other.covariance) < 1e-6)
    #expect(distance(inputs(group.cross), PlainMoments(f, q).covariance) < 1e-6)
    #expect(distance(group.residualMean, residual.mean) < 1e-6 && distance(group.residual, residual.covariance) < 1e-6)
    // What is known is not run for again, whatever another run would give.
    let again = try measured(changed, hasVariance: false)
    #expect(inputs(again.meanF) == inputs(group.meanF) && inputs(again.cross) == inputs(group.cross) && again.varianceF == nil)
    #expect(again.residual == group.residual && again.residualMean == group.residualMean && again.covariance == group.covariance)
    #expect(readings.byteCount == 9 * 8 * 4)
    readings.limit(to: 9 * 8 * 4 - 1)
    #expect(readings.byteCount == 0)
    #expect(try inputs(measured(changed, hasVariance: false).meanF) != inputs(group.meanF))
  }

  private func inputs(_ reference: OutputCorrection.Reference?) -> [Double] {
    if case .inputs(let values) = reference { values } else { [] }
  }

  private func outputs(_ reference: OutputCorrection.Reference?) -> [Double] {
    if case .outputs(let values) = reference { values } else { [] }
  }

  /// Statistics of inputs where there are not far fewer outputs, with columns in the order of the weights.
  @Test(arguments: [2, 3])
  func convolution_ofFewOutputs_hasStatisticsOfThem(_ channels: Int) throws {
    let nodes = [Node("Conv", inputs: ["x", "a"], outputs: ["h"]), Node("Conv", inputs: ["h", "b"], outputs: ["y"])]
    let bound = try boundModel(nodes, [weight("a", 2, 1, 1, 1, seed: 1), weight("b", channels, 2, 1, 2, seed: 2)])
    let data = try batch(["x": drawn(3, 1, 1, 6, seed: 3)])
    let route = try ForwardRoute(
      bound.model, batch: data, parameters: Array(bound.weights.keys), stops: ["h"], outputs: ["y"], bound.context)
    let cursor = { ForwardCursor(route, data, weights: bound.weights, bound.context) }
    let group = try PairedMeasurement(
      bound, all([data]), UnquantizedReader(bound, all([data]), [cursor()], UnquantizedReadings()), quantized: [cursor()])
      .statistics(1, needsVariance: true).groups[0]
    #expect(inputs(group.cross).count == (channels == 3 ? 16 : 0) && outputs(group.cross).count == (channels == 3 ? 0 : 8))
    if channels == 3 { #expect(distance(inputs(group.cross), group.covariance) < 1e-6) }
  }

  /// Statistics of outputs are made with weights near 1 and told in the units of the weights as they are.
  @Test(arguments: [60, -60])
  func weightsFarFromOne_outputStatistics_scaleWithThem(_ exponent: Int) throws {
    func group(_ factor: Float) throws -> PairedStatistics.Group {
      let nodes = [Node("Conv", inputs: ["x", "a"], outputs: ["h"]), Node("Conv", inputs: ["h", "b"], outputs: ["y"])]
      let b = Initializer(name: "b", tensor: try Tensor(numbers(8, seed: 2).map { $0 * factor }, shape: [2, 2, 1, 2]))
      let bound = try boundModel(nodes, [weight("a", 2, 1, 1, 1, seed: 1), b])
      let data = try batch(["x": drawn(3, 1, 1, 6, seed: 3)])
      let route = try ForwardRoute(
        bound.model, batch: data, parameters: Array(bound.weights.keys), stops: ["h"], outputs: ["y"], bound.context)
      let cursor = { ForwardCursor(route, data, weights: bound.weights, bound.context) }
      return try PairedMeasurement(
      bound, all([data]), UnquantizedReader(bound, all([data]), [cursor()], UnquantizedReadings()), quantized: [cursor()])
        .statistics(1, needsVariance: true).groups[0]
    }
    let (near, far) = (try group(1), try group(Float(sign: .plus, exponent: exponent, significand: 1)))
    func scaled(_ reference: OutputCorrection.Reference?, by exponent: Int) -> [Double] {
      outputs(reference).map { Double(sign: .plus, exponent: exponent, significand: $0) }
    }
    #expect(outputs(near.cross).count == 8 && outputs(far.cross) == scaled(near.cross, by: exponent))
    #expect(outputs(far.meanF) == scaled(near.meanF, by: exponent))
    #expect(outputs(far.varianceF) == scaled(near.varianceF, by: 2 * exponent))
  }

  /// One group, groups of two channels, and a depthwise convolution, whose statistics are of inputs.
  @Test(arguments: [(2, 1), (4, 2), (2, 2)])
  func convolution_isInTheOrderOfTheWeights(_ channels: Int, _ groups: Int) throws {
    let count = channels / groups
    let nodes = [
      Node("Conv", inputs: ["x", "a"], outputs: ["h"]),
      Node("Conv", inputs: ["h", "b"], outputs: ["y"], attributes: ["group": .int(Int64(groups))]),
    ]
    let bound = try boundModel(nodes, [weight("a", channels, 1, 1, 1, seed: 1), weight("b", channels, count, 1, 2, seed: 2)])
    let data = try batch(["x": drawn(3, 1, 1, 6, seed: 3)])
    let changed = bound.weights.merging(["a": try drawn(channels, 1, 1, 1, seed: 9)]) { $1 }
    let route = try ForwardRoute(
      bound.model, batch: data, parameters: Array(changed.keys), stops: ["h"], outputs: ["y"], bound.context)
    let readings = UnquantizedReadings(room: 1 << 20)
    func measured(_ unquantized: [String: Tensor]) throws -> [PairedStatistics.Group] {
      let cursors = [ForwardCursor(route, data, weights: unquantized, bound.context)]
      return try PairedMeasurement(
        bound, all([data]), UnquantizedReader(bound, all([data]), cursors, readings),
        quantized: [ForwardCursor(route, data, weights: changed, bound.context)]
      ).statistics(1, needsVariance: false).groups
    }
    let program = try bound.programs.forward(data, outputs: ["h"])
    let f = try program.run(data, weights: bound.weights)[0].rowMajor()
    let q = try program.run(data, weights: changed)[0].rowMajor()
    let groups = try measured(bound.weights)
    // What is known is not run for again, whatever another run would give.
    for (first, again) in zip(groups, try measured(changed)) {
      #expect(inputs(again.cross) == inputs(first.cross) && outputs(again.cross) == outputs(first.cross))
    }
    for (number, group) in groups.enumerated() {
      let own = (number * count)..<((number + 1) * count)
      let (a, b) = (windows(f, channels: own), windows(q, channels: own))
      #expect(group.residual.isEmpty && distance(group.meanQ, PlainMoments(b).mean) < 1e-6)
      #expect(distance(group.covariance, PlainMoments(b).covariance) < 1e-6)
      if count == 1 {
        #expect(inputs(group.varianceF).isEmpty && distance(inputs(group.meanF), PlainMoments(a).mean) < 1e-6)
        #expect(distance(inputs(group.cross), PlainMoments(a, b).covariance) < 1e-6)
        continue
      }
      let weights = try rows(#require(bound.weights["b"]), a[0].count)[own]
      let made = a.map { window in weights.map { zip($0, window).reduce(0) { $0 + $1.0 * $1.1 } } }
      let covariance = PlainMoments(made).covariance
      #expect(distance(outputs(group.meanF), PlainMoments(made).mean) < 1e-6)
      #expect(distance(outputs(group.varianceF), (0..<count).map { covariance[$0 * (count + 1)] }) < 1e-6)
      #expect(distance(outputs(group.cross), PlainMoments(made, b).covariance) < 1e-6)
    }
  }
}
