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

@Suite struct StatisticsMeasurementTests {
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
}
