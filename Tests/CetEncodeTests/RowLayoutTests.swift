import CetQuantize
import Testing

@testable import CetEncode

@Suite struct RowLayoutTests {
  private static func layout(_ shape: [Int], axis: Int?, block: Int = 0) throws -> RowLayout {
    RowLayout(try QuantizedForm(name: "w", shape: shape, bits: 4, axis: axis, blockSize: block))
  }

  @Test func withoutBlocks_codesStayInTheTensorsOrder() throws {
    let layout = try Self.layout([2, 3, 4], axis: 1)
    #expect(layout.codeShape == [2, 3, 4] && layout.gridShape == [1, 3, 1])
    #expect(!layout.needsReordering && layout.paddedCount == 24)
    #expect(layout.padded(Array(0..<24)) == Array(0..<24))
    let whole = try Self.layout([2, 3, 4], axis: nil)
    #expect(whole.gridShape == [1, 1, 1] && whole.rows == 1 && whole.transposition.isEmpty)
  }

  @Test func withBlocks_rowsComeFirstAndArePadded() throws {
    let layout = try Self.layout([2, 3, 2], axis: 1, block: 3)
    #expect(layout.codeShape == [3, 2, 3] && layout.gridShape == [3, 2, 1])
    #expect(layout.rowsFirstShape == [3, 2, 2] && layout.transposition == [1, 0, 2])
    #expect(
      layout.padded(Array(0..<12)) == [0, 1, 6, 7, 0, 0, 2, 3, 8, 9, 0, 0, 4, 5, 10, 11, 0, 0])
    #expect(layout.rowsFirst(Array(0..<12)) == [0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11])
    #expect(layout.paddedCount == 18)
  }

  @Test func transposition_leadsBackFromRowsFirst() throws {
    #expect(try Self.layout([5, 2, 3, 4], axis: 0, block: 2).transposition.isEmpty)
    #expect(try Self.layout([2, 3, 4], axis: 2, block: 2).transposition == [1, 2, 0])
  }
}
