import Testing

@testable import CetTensor

@Suite struct RandomTests {
  /// The numbers of the authors' program (xoshiro256starstar.c) from a state of 1, 2, 3, 4.
  @Test func state_next_numbersOfTheReference() throws {
    var random = try #require(Random(saved: [1, 2, 3, 4, 0, 0]))
    let numbers = (0..<4).map { _ in random.next() }
    #expect(numbers == [11520, 0, 1_509_978_240, 1_215_971_899_390_074_240])
  }

  /// Every second normal number is left over from the one before.
  @Test(arguments: 0..<4) func savedState_goesOnWithTheSameNumbers(_ drawn: Int) throws {
    var random = Random(seed: 7)
    for _ in 0..<drawn { _ = random.normal() }
    var copy = try #require(Random(saved: random.saved))
    #expect((0..<5).map { _ in copy.normal() } == (0..<5).map { _ in random.normal() })
  }

  @Test(arguments: [
    [], [1, 2, 3, 4], [0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 1, 0],
    [1, 2, 3, 4, 1, Double.nan.bitPattern], [1, 2, 3, 4, 1, Double.infinity.bitPattern],
  ]) func numbersThatNoGeneratorTold_areNone(_ saved: [UInt64]) {
    #expect(Random(saved: saved) == nil)
  }
}
