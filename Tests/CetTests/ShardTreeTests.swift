import CetTensor
import Testing

@testable import Cet
@testable import CetAutodiff

@Suite struct ShardTreeTests {
  @Test func ranks_haveAllBatchesOnceAndNoneIsIdle() {
    for batches in 1...70 {
      let tree = ShardTree(batchCount: batches)
      for size in 1...min(ShardTree.leafCount, batches) {
        var next = 0
        for rank in 0..<size {
          let range = tree.batches(ofRank: rank, of: size)
          #expect(range.lowerBound == next && !range.isEmpty, "\(batches) batches, rank \(rank) of \(size)")
          next = range.upperBound
          #expect(tree.liveSums(ofRank: rank, of: size) <= 6)
        }
        #expect(next == batches)
      }
      #expect(tree.liveSums(ofRank: 0, of: 1) <= 5)
    }
    #expect(ShardTree(batchCount: 1).liveSums(ofRank: 0, of: 1) == 1)
    #expect(ShardTree(batchCount: 4).liveSums(ofRank: 0, of: 1) == 3)
    #expect(ShardTree(batchCount: 1 << 20).liveSums(ofRank: 0, of: 1) == 5)
  }

  /// The order as the documentation says it, written once more.
  private static func sum(_ values: [Double], _ lower: Int = 0, _ upper: Int = 16) -> Double? {
    guard upper - lower > 1 else {
      let first = (values.count * lower + 15) / 16, end = (values.count * upper + 15) / 16
      return first == end ? nil : values[first..<end].reduce(0, +)
    }
    let (left, right) = (sum(values, lower, (lower + upper) / 2), sum(values, (lower + upper) / 2, upper))
    guard let left, let right else { return left ?? right }
    return left + right
  }

  @Test(arguments: 1...40) func sum_hasTheSameBitsForAnyNumberOfRanks(_ batches: Int) throws {
    var random = Random(seed: UInt64(batches))
    // Magnitudes that differ widely: another order gives other bits.
    let values = (0..<batches).map { _ in (random.uniform() - 0.5) * Double(sign: .plus, exponent: Int(random.uniform() * 60), significand: 1) }
    let expected = try #require(Self.sum(values))
    let tree = ShardTree(batchCount: batches)
    let alone = ShardedSum(tree, count: 1, nil)
    for (batch, value) in values.enumerated() { try alone.add(batch: batch) { $0[0] += value } }
    try alone.close()
    let total = try alone.total()
    #expect(withExtendedLifetime(total) { ShardedSum.doubles(total)[0] } == expected)
    for size in [1, 2, 3, 4, 7, 16] where size <= batches {
      let sums = try Meeting(size).run { communicator in
        let meter = ByteMeter()
        let sum = ShardedSum(tree, count: 1, communicator, meter: meter)
        for batch in tree.batches(ofRank: communicator.rank, of: size) {
          try sum.add(batch: batch) { $0[0] += values[batch] }
        }
        try sum.close()
        let held = meter.peak
        let total = try sum.total()
        // What can fail is done before the exchange, and as many sums were held as was foretold.
        #expect(meter.peak == held)
        #expect(held == 8 * tree.liveSums(ofRank: communicator.rank, of: size))
        return withExtendedLifetime(total) { ShardedSum.doubles(total)[0] }
      }
      for sum in sums { #expect(try sum.get() == expected, "\(size) ranks") }
    }
  }

  @Test func range_isThatOfTheTree() throws {
    #expect(try communicatorRange(total: 64, batchSize: 4, size: 2, rank: 1) == 32..<64)
    #expect(try communicatorRange(total: 61, batchSize: 4, size: 4, rank: 3) == 48..<61)
    #expect(throws: CetError.self) { try communicatorRange(total: 8, batchSize: 4, size: 4, rank: 0) }
    #expect(throws: CetError.self) { try communicatorRange(total: 800, batchSize: 4, size: 17, rank: 0) }
    #expect(throws: CetError.self) { try communicatorRange(total: 800, batchSize: 4, size: 4, rank: 4) }
    #expect(try communicatorRange(total: .max, batchSize: 3, size: 1, rank: 0) == 0..<Int.max)
    #expect(try communicatorRange(total: .max, batchSize: .max, size: 1, rank: 0) == 0..<Int.max)
  }
}
