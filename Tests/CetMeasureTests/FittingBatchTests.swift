import CetTensor
import Testing

@testable import CetMeasure

@Suite struct FittingBatchTests {
  @Test func parts_areAllBatchesInOrder() {
    for (batches, columns, count) in [(5, 10, 5), (100, 1024, 32), (100, 1025, 8), (0, 10, 0)] {
      let parts = FittingBatch.parts(batches, columns: columns)
      #expect(parts.count == count && parts.flatMap { $0 } == Array(0..<batches))
    }
  }

  /// 2 samples of 1000 rows stand for 100 samples: 50000 rows, of which some 32768 are enough.
  @Test func patchStep_countsRowsOfAllSamples() throws {
    let batch = FittingBatch(batch: try batch(["x": Tensor.zeros(.float32, [2, 3])]), rows: [0: [1, 2]])
    #expect(batch.patchStep(rows: 1000, columns: 4, samples: 100) == 1)
    #expect(batch.patchStep(rows: 2000, columns: 4, samples: 100) == 3)
  }

  @Test func patchStep_ofMarkedRows_countsThoseThatCount() throws {
    let bound = try boundModel([.init("MatMul", inputs: ["x", "w"], outputs: ["y"])], [weight("w", 3, 2, seed: 1)])
    let x = try Tensor.zeros(.float32, [2, 40, 3])
    let data = try batch(["x": x])
    func step(_ rows: [Int: [Int]]) throws -> Int {
      try FittingBatch(batch: data, rows: rows).patchStep(0, bound.layers[0], x, samples: 10000)
    }
    #expect(try step([:]) == 12 && step([0: Array(0..<40)]) == 6)
  }
}
