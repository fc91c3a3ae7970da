import CetTensor
import Testing

@testable import CetEncode

@Suite struct PackedRunsTests {
  private static let lengths = [1, 2, 7, 8, 9, 27, 333]

  private static func codes(_ count: Int, bits: Int) -> [UInt8] {
    var random = Random(seed: 7)
    return (0..<count).map { $0 < 3 ? UInt8(1 << bits - 1) : UInt8(random.next() % UInt64(1 << bits)) }
  }

  /// What the written nodes do, with numbers of 32 bits: traps where one is too large.
  private static func windows(_ packed: [UInt8], _ runs: PackedRuns, columns: Int) -> [Int32] {
    let all = runs.reach
    let count = runs.count(of: columns)
    return (0..<(packed.count / max(1, count * runs.bytes))).flatMap { row -> [Int32] in
      let bytes = [UInt8](repeating: 0, count: runs.reach - runs.bytes) + packed[(row * count * runs.bytes)..<((row + 1) * count * runs.bytes)]
      return Array(
        (0..<count).flatMap { run in
          (0..<runs.parts).flatMap { part -> [Int32] in
            let number = (0..<all).reduce(Int32(0)) { $0 + Int32(bytes[run * runs.bytes + $1]) * runs.places[part * all + $1] }
            return (0..<runs.codesOfPart).map { number / runs.divisors[part * runs.codesOfPart + $0] % (Int32(1) << Int32(runs.window)) }
          }
        }.prefix(columns))
    }
  }

  @Test(arguments: 1...8) func codes_areTakenOutOfRuns(bits: Int) throws {
    let runs = PackedRuns(bits: bits)
    #expect(runs.codes * bits == 8 * runs.bytes && runs.codes == runs.parts * runs.codesOfPart && runs.history == 0)
    for count in Self.lengths {
      let codes = Self.codes(count, bits: bits)
      let packed = runs.packed(codes, columns: count)
      #expect(packed.count == runs.count(of: count) * runs.bytes)
      #expect(Self.windows(packed, runs, columns: count) == codes.map(Int32.init))
    }
    #expect(runs.packed([], columns: 0).isEmpty)
  }

  /// s = (s · 2^k + c) mod 2^L along each row, from 0.
  @Test(arguments: 1...6, [6, 10, 12]) func states_areTakenOutOfRuns(bits: Int, stateBits: Int) throws {
    for columns in Self.lengths {
      let runs = PackedRuns(bits: bits, stateBits: stateBits, columns: columns)
      #expect(runs.history <= runs.bytes && runs.isAlone == (runs.count(of: columns) == 1))
      let codes = Self.codes(3 * columns, bits: bits)
      var states: [Int32] = []
      for row in 0..<3 {
        var state: Int32 = 0
        for code in codes[(row * columns)..<((row + 1) * columns)] {
          state = (state << Int32(bits) + Int32(code)) % (Int32(1) << Int32(stateBits))
          states.append(state)
        }
      }
      #expect(Self.windows(runs.packed(codes, columns: columns), runs, columns: columns) == states)
    }
  }
}
