import CetAutodiff
import CetGraph
import CetTensor
import Testing

@testable import CetMeasure

/// y = (x·w) ⊙ mask, of tokens with 3 entries.
private func masked(channels: Int) throws -> BoundModel {
  let nodes = [
    Node("MatMul", inputs: ["x", "w"], outputs: ["p"]), Node("Mul", inputs: ["p", "mask"], outputs: ["y"]),
  ]
  return try boundModel(nodes, [weight("w", 3, channels, seed: 1)], inputs: ["x", "mask"], threads: 2)
}

private func tokens(_ mask: [Float], seed: UInt64) throws -> Batch {
  try batch(["x": drawn(2, mask.count / 2, 3, seed: seed), "mask": Tensor(mask, shape: [2, mask.count / 2, 1])])
}

@Suite struct RelevantRowsTests {
  @Test func maskedTokens_doNotCount() throws {
    let batches = [try tokens([1, 1, 0, 0, 1, 1, 1, 0], seed: 2), try tokens([0, 1, 0, 1, 1, 0, 1, 1], seed: 3)]
    let found = try RelevantRows(masked(channels: 16)).run(batches)
    #expect(found.map(\.rows) == [[0: [0, 1, 4, 5, 6]], [0: [1, 3, 4, 6, 7]]])
  }

  @Test func tokensThatAllCount_areNotListed() throws {
    let found = try RelevantRows(masked(channels: 16)).run([tokens([1, 1, 1, 1, 1, 1], seed: 2)])
    #expect(found.map(\.rows) == [[:]])
  }

  /// All of a few channels may be zero by chance.
  @Test func layersOfFewChannels_useAllRows() throws {
    let found = try RelevantRows(masked(channels: 15)).run([tokens([1, 0, 0, 1], seed: 2)])
    #expect(found.map(\.rows) == [[:]])
  }

  @Test func poolingThatReadsOneToken_leavesTheOthersOut() throws {
    let nodes = [
      Node("MatMul", inputs: ["x", "w"], outputs: ["p"]),
      Node("Gather", inputs: ["p", "first"], outputs: ["y"], attributes: ["axis": .int(1)]),
    ]
    let first = Initializer(name: "first", tensor: try Tensor([0] as [Int64], shape: []))
    let bound = try boundModel(nodes, [weight("w", 3, 16, seed: 1), first])
    let found = try RelevantRows(bound).run([batch(["x": drawn(2, 4, 3, seed: 2)])])
    #expect(found.map(\.rows) == [[0: [0, 4]]])
  }
}
