import CetTensor
import Testing

@testable import CetQuantize

@Suite struct CodeRulesTests {
  private func kinds(_ coding: CodingPolicy, _ granularity: Granularity = .perAxis, bits: Int, columns: Int = 9) -> [Coding.Kind] {
    CodeRules(granularity: granularity, coding: coding, trellis: .small) { _ in 1 }.codings(bits: bits, columns: columns).map(\.kind)
  }

  @Test func codings_followThePolicyWhereThereIsATrellis() {
    let (both, trellis, affine): ([Coding.Kind], [Coding.Kind], [Coding.Kind]) = ([.trellis, .affine], [.trellis], [.affine])
    #expect(kinds(.auto, bits: 3) == both)
    #expect(kinds(.trellis, bits: 3) == trellis)
    #expect(kinds(.affine, bits: 3) == affine)
    #expect(kinds(.auto, bits: 1) == trellis)
    #expect(kinds(.affine, bits: 1) == [])
    #expect(kinds(.auto, bits: 1, columns: 1 << 17) == [])
    #expect(kinds(.symmetric, bits: 1) == [])
    #expect((2...8).allSatisfy { kinds(.symmetric, bits: $0) == [.symmetric] })
    #expect(kinds(.symmetric, .perTensor, bits: 4) == [.symmetric])
    #expect(kinds(.trellis, bits: 8) == affine)
    #expect(kinds(.auto, bits: 7) == affine)
    #expect(kinds(.trellis, .perTensor, bits: 3) == affine)
    #expect(kinds(.auto, .block(4), bits: 3) == both)
    #expect(kinds(.trellis, bits: 3, columns: 0) == affine)
    #expect(kinds(.trellis, bits: 3, columns: 1 << 17) == affine)
  }

  @Test func forms_ofATrellis_haveNoZeroPoints() throws {
    let form = CodeRules(granularity: .perAxis, coding: .trellis, trellis: .large) { _ in 2 }
    let made = try form.form(name: "w", shape: [4, 3], axis: 0, #require(form.expected(bits: 2, columns: 3)))
    #expect(made.coding == .trellis(.large))
    #expect(made.zeroUnit == 1)
    #expect(made.zeroPointCount == 0)
    #expect(made.scaleCount == 4)
    #expect(throws: CetError.self) {
      _ = try QuantizedForm(name: "w", shape: [4, 3], bits: 7, axis: 0, coding: .trellis(.small))
    }
    #expect(throws: CetError.self) {
      _ = try QuantizedForm(name: "w", shape: [4, 3], bits: 2, axis: nil, coding: .trellis(.small))
    }
  }
}
