import CetAutodiff
import CetGraph
import CetTensor
import Testing

@testable import CetMeasure

private func statistics(
  _ bound: BoundModel, _ batches: [FittingBatch], memory: Int = .max
) throws -> [(layers: [Int], value: InputStatistics)] {
  var found: [(layers: [Int], value: InputStatistics)] = []
  try StatisticsMeasurement(bound, batches).run(Array(bound.layers.indices), memory: memory) { found.append(($0, $1)) }
  return found
}

/// Rows of `width` values.
private func rows(_ tensor: Tensor, _ width: Int) throws -> [[Float]] {
  let values = try tensor.rowMajor().array(as: Float.self)
  return stride(from: 0, to: values.count, by: width).map { Array(values[$0..<($0 + width)]) }
}

/// Windows of 2 on the last axis of [samples, channels, 1, length], in the order of a weight [_, channels, 1, 2].
private func windows(_ x: Tensor, channels: Range<Int>) -> [[Float]] {
  let (all, length) = (x.shape[1], x.shape[3])
  return (0..<x.shape[0]).flatMap { sample in
    (0..<(length - 1)).map { place in
      channels.flatMap { channel in (0..<2).map { x.floats[(sample * all + channel) * length + place + $0] } }
    }
  }
}

@Suite struct StatisticsTests {
  @Test func convolution_groupsOverBatches_isThePlainCovariance() throws {
    let node = Node("Conv", inputs: ["x", "w"], outputs: ["y"], attributes: ["group": .int(2)])
    let bound = try boundModel([node], [weight("w", 4, 2, 1, 2, seed: 1)], threads: 2)
    let inputs = [try drawn(3, 4, 1, 6, seed: 2), try drawn(2, 4, 1, 6, seed: 3)]
    let found = try statistics(bound, all(inputs.map { try batch(["x": $0]) }))
    #expect(found.count == 1 && found[0].value.groups.count == 2)
    for (group, statistics) in found[0].value.groups.enumerated() {
      let plain = PlainMoments(inputs.flatMap { windows($0, channels: (2 * group)..<(2 * group + 2)) })
      #expect(statistics.count == 25)
      #expect(distance(statistics.mean, plain.mean) < 1e-6 && distance(statistics.covariance, plain.covariance) < 1e-6)
    }
  }

  @Test func depthwise_everyChannelByItself() throws {
    let node = Node("Conv", inputs: ["x", "w"], outputs: ["y"], attributes: ["group": .int(3)])
    let bound = try boundModel([node], [weight("w", 3, 1, 1, 2, seed: 1)])
    let x = try drawn(4, 3, 1, 5, seed: 2)
    let groups = try statistics(bound, all([batch(["x": x])]))[0].value.groups
    #expect(groups.count == 3)
    for (channel, group) in groups.enumerated() {
      let plain = PlainMoments(windows(x, channels: channel..<(channel + 1)))
      #expect(distance(group.mean, plain.mean) < 1e-6 && distance(group.covariance, plain.covariance) < 1e-6)
    }
  }

  /// Where no bias can take the mean, it stays in the second moment.
  @Test func withoutBias_isNotCentred() throws {
    let bound = try boundModel([Node("MatMul", inputs: ["w", "x"], outputs: ["y"])], [weight("w", 3, 2, seed: 1)])
    let x = try Tensor(numbers(12, seed: 2).map { $0 + 3 }, shape: [2, 2, 3])
    let columns = (0..<2).flatMap { sample in (0..<3).map { j in (0..<2).map { x.floats[(sample * 2 + $0) * 3 + j] } } }
    let group = try statistics(bound, all([batch(["x": x])]))[0].value.groups[0]
    #expect(distance(group.covariance, PlainMoments(columns, centred: false).covariance) < 1e-5)
  }

  @Test func rowsThatDoNotCount_areLeftOut() throws {
    let bound = try boundModel([Node("MatMul", inputs: ["x", "w"], outputs: ["y"])], [weight("w", 3, 4, seed: 1)])
    let x = try drawn(2, 4, 3, seed: 2)
    let kept = [0, 1, 4, 7]
    let group = try statistics(bound, [FittingBatch(batch: batch(["x": x]), rows: [0: kept])])[0].value.groups[0]
    let all = try rows(x, 3)
    let plain = PlainMoments(kept.map { all[$0] })
    #expect(group.count == 4 && distance(group.mean, plain.mean) < 1e-6 && distance(group.covariance, plain.covariance) < 1e-6)
  }

  @Test func layersOfOneInput_shareTheirStatistics_whateverTheMemory() throws {
    let nodes = [
      Node("MatMul", inputs: ["x", "q"], outputs: ["a"]), Node("MatMul", inputs: ["x", "k"], outputs: ["b"]),
      Node("Mul", inputs: ["a", "b"], outputs: ["c"]), Node("MatMul", inputs: ["c", "v"], outputs: ["y"]),
    ]
    let bound = try boundModel(nodes, ["q", "k", "v"].enumerated().map { try weight($1, 3, 3, seed: UInt64($0)) })
    let batches = all([try batch(["x": drawn(4, 3, seed: 5)]), try batch(["x": drawn(2, 3, seed: 6)])])
    let (together, apart) = (try statistics(bound, batches), try statistics(bound, batches, memory: 1))
    #expect(together.map(\.layers) == [[0, 1], [2]] && apart.map(\.layers) == [[0, 1], [2]])
    for (a, b) in zip(together, apart) {
      #expect(a.value.groups[0].covariance == b.value.groups[0].covariance && a.value.groups[0].mean == b.value.groups[0].mean)
    }
  }

  // MARK: Of two networks

  /// y = relu(x·a)·b + relu(x·a), measured at b with another a in the second network.
  @Test func paired_momentsOfBothNetworksAndTheResidual() throws {
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
      bound, all(batches), fp32: try cursors(bound.weights), quantized: try cursors(changed), needsVariance: true)
    let group = try measurement.statistics(1).groups[0]
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
  func paired_convolution_isInTheOrderOfTheWeights(_ groups: Int) throws {
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
      quantized: [ForwardCursor(route, data, weights: changed, bound.context)], needsVariance: false)
    let program = try bound.programs.forward(data, outputs: ["h"])
    let f = try program.run(data, weights: bound.weights)[0].rowMajor()
    let q = try program.run(data, weights: changed)[0].rowMajor()
    for (number, group) in try measurement.statistics(1).groups.enumerated() {
      let channels = groups == 1 ? 0..<2 : number..<(number + 1)
      let (a, b) = (windows(f, channels: channels), windows(q, channels: channels))
      #expect(group.covarianceF.isEmpty && group.residual.isEmpty)
      #expect(distance(group.meanF, PlainMoments(a).mean) < 1e-6 && distance(group.meanQ, PlainMoments(b).mean) < 1e-6)
      #expect(distance(group.covariance, PlainMoments(b).covariance) < 1e-6)
      #expect(distance(group.cross, PlainMoments(a, b).covariance) < 1e-6)
    }
  }
}
