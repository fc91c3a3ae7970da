import CetTensor
import Testing

@testable import CetAllocate

@Suite struct SensitivityTableTests {
  static func row(_ name: String, _ losses: [Int: Double], weights: Int) throws -> SensitivityTable.Row {
    try SensitivityTable.Row(
      tensor: name,
      entries: losses.map {
        .init(bits: $0.key, measured: $0.value, storedBytes: weights * $0.key / 8, codeBits: weights * $0.key)
      })
  }

  @Test func noisyLosses_monotoneLosses_neverRiseWithBits() throws {
    let row = try SensitivityTableTests.row("a", [2: 0.5, 3: 0.6, 4: 0.1, 8: -0.01], weights: 80)
    #expect(row.entries.map(\.bits) == [2, 3, 4, 8])
    #expect(row.monotoneLosses() == [0.5, 0.5, 0.1, 0])
  }

  @Test func group_allocate_sharesBits() throws {
    let table = try SensitivityTable([
      SensitivityTableTests.row("q", [2: 1, 4: 0.1, 8: 0], weights: 800),
      SensitivityTableTests.row("k", [2: 0.01, 4: 0.001, 8: 0], weights: 800),
      SensitivityTableTests.row("o", [2: 0.5, 4: 0.01, 8: 0], weights: 800),
    ])
    let free = try table.allocate(budget: 1000)
    #expect(free.bits == ["q": 4, "k": 2, "o": 4])
    let shared = try table.allocate(budget: 1000, groups: [["q", "k"]])
    #expect(shared.bits == ["q": 4, "k": 4, "o": 2])
    #expect(shared.solution.cost == 1000)
    let bits = try table.allocate(budget: 8000, groups: [["q", "k"]], size: .codeBits)
    #expect(bits.bits == shared.bits)
  }

  @Test func predictedOnly_loss_isUsed() throws {
    let row = try SensitivityTable.Row(
      tensor: "a", entries: [.init(bits: 2, predicted: 0.25, storedBytes: 1, codeBits: 8)])
    #expect(row.monotoneLosses() == [0.25])
  }

  @Test func malformedRows_init_throw() throws {
    #expect(throws: CetError.self) {
      try SensitivityTable.Row(tensor: "a", entries: [.init(bits: 2, storedBytes: 1, codeBits: 8)])
    }
    #expect(throws: CetError.self) { try SensitivityTableTests.row("a", [2: .nan], weights: 8) }
    let row = try SensitivityTableTests.row("a", [2: 1], weights: 8)
    #expect(throws: CetError.self) { try SensitivityTable([row, row]) }
    #expect(throws: CetError.self) { try SensitivityTable([row]).allocate(budget: 99, groups: [["b"]]) }
  }
}
