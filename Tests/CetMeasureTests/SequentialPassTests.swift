import CetAutodiff
import CetGraph
import CetQuantize
import CetTensor
import Testing

@testable import CetMeasure

/// y = relu(x·a + c)·b + d.
private func twoLayers(threads: Int = 1) throws -> BoundModel {
  let nodes = [
    Node("Gemm", inputs: ["x", "a", "c"], outputs: ["p"]), Node("Relu", inputs: ["p"], outputs: ["h"]),
    Node("Gemm", inputs: ["h", "b", "d"], outputs: ["y"]),
  ]
  let initializers = [
    try weight("a", 8, 12, seed: 1), try weight("c", 12, seed: 2), try weight("b", 12, 6, seed: 3), try weight("d", 6, seed: 4),
  ]
  return try boundModel(nodes, initializers, threads: threads)
}

private func batches() throws -> [Batch] {
  try (0..<8).map { try batch(["x": drawn(32, 8, seed: 10 + $0)]) }
}

private let options = SequentialOptions(ridge: 0.05, matchesVariance: false)

/// Every layer rounded by itself.
private func alone(_ bound: BoundModel, bits: Int) throws -> [Int: QuantizedLayer] {
  var result: [Int: QuantizedLayer] = [:]
  try StatisticsMeasurement(bound, all(batches())).run(Array(bound.layers.indices), memory: .max) { run, statistics throws(CetError) in
    let factors = InputFactors(statistics, bound.workers)
    for index in run {
      result[index] = try LayerRounding(bound, index, statistics, factors).quantized(CodeFormat(bits: bits), rules: perAxis)
    }
  }
  return result
}

@Suite struct SequentialPassTests {
  @Test(arguments: [3, 4, 8])
  func laterLayer_makesUpForTheErrorOfTheFirst(_ bits: Int) throws {
    let bound = try twoLayers()
    let data = try batches()
    let references = try bound.referenceOutputs(data)
    func loss(_ layers: [Int: QuantizedLayer]) throws -> Double {
      try bound.meanLoss(data, references: references, changed: bound.replacements(layers))
    }
    let pass = SequentialPass(bound, options, rules: perAxis)
    #expect(try loss(pass.run(grids([0: bits, 1: bits]), all(data))) < loss(alone(bound, bits: bits)))
  }

  @Test(arguments: [Coding.affine, .trellis(.small)])
  func threads_changeNoBit(_ coding: Coding) throws {
    let formats = [0: CodeFormat(bits: 3, coding: coding), 1: CodeFormat(bits: 3, coding: coding)]
    func quantized(threads: Int) throws -> [Int: QuantizedLayer] {
      let bound = try twoLayers(threads: threads)
      let options = SequentialOptions(ridge: 0.05, matchesVariance: true)
      return try SequentialPass(bound, options, rules: perAxis, effort: RoundingEffort(.result)).run(formats, all(batches()))
    }
    let (one, two) = (try quantized(threads: 1), try quantized(threads: 2))
    #expect(one.keys.sorted() == [0, 1])
    for (index, layer) in one {
      #expect(two[index]?.tensor.codes == layer.tensor.codes && two[index]?.tensor.scales == layer.tensor.scales)
      #expect(two[index]?.bias == layer.bias)
    }
  }

  /// Room for what is known of the unquantized network, or for some of it, changes time alone.
  @Test(arguments: [0, 9000, 1 << 20])
  func knownReadings_changeNoBit(_ room: Int) throws {
    let bound = try twoLayers(threads: 2)
    let data = all(try batches())
    let readings = UnquantizedReadings(room: room)
    for (bits, matchesVariance) in [(3, false), (2, true), (3, true)] {
      let options = SequentialOptions(ridge: 0.05, matchesVariance: matchesVariance)
      let found = try SequentialPass(bound, options, rules: perAxis, readings: readings).run(grids([0: bits, 1: bits]), data)
      let fresh = try SequentialPass(bound, options, rules: perAxis).run(grids([0: bits, 1: bits]), data)
      for (index, layer) in fresh {
        #expect(found[index]?.tensor.codes == layer.tensor.codes && found[index]?.tensor.scales == layer.tensor.scales)
        #expect(found[index]?.bias == layer.bias)
      }
    }
    #expect((readings.byteCount > 0) == (room == 1 << 20))
  }

  @Test func fixedLayers_areLeft_andFittedTo() throws {
    let bound = try twoLayers()
    let fixed = [0: try nearest(bound, bits: [2])[0][0]]
    let pass = SequentialPass(bound, options, rules: perAxis)
    let (found, free) = (try pass.run(grids([0: 8, 1: 8]), fixed: fixed, all(batches())), try pass.run(grids([1: 8]), all(batches())))
    #expect(found[0]?.tensor.codes == fixed[0]?.tensor.codes)
    #expect(found[1]?.bias != free[1]?.bias && free[0] == nil)
  }

  @Test func progress_countsLayers() throws {
    var seen: [[Int]] = []
    _ = try SequentialPass(twoLayers(), options, rules: perAxis).run(grids([0: 4, 1: 4]), all(batches())) { seen.append([$0, $1]) }
    #expect(seen == [[0, 2], [1, 2], [2, 2]])
  }

  /// The bias takes the mean of the output error, so that the output's mean is that of the unquantized network.
  @Test func means_areKept() throws {
    let bound = try twoLayers()
    let data = try batches()
    let layers = try SequentialPass(bound, options, rules: perAxis).run(grids([0: 3, 1: 3]), all(data))
    let changed = bound.weights.merging(try bound.replacements(layers)) { $1 }
    func mean(_ weights: [String: Tensor]) throws -> [Double] {
      let outputs = try data.flatMap { batch in
        let y = try bound.programs.forward(batch, outputs: ["y"]).run(batch, weights: weights)[0].array(as: Float.self)
        return stride(from: 0, to: y.count, by: 6).map { Array(y[$0..<($0 + 6)]) }
      }
      return PlainMoments(outputs).mean
    }
    #expect(try distance(mean(bound.weights), mean(changed)) < 1e-5)
  }
}
