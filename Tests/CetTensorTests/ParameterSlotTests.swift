import Testing

@testable import CetTensor

@Suite struct ParameterSlotTests {
  @Test func tensors_standOneBehindTheOther() {
    let slots = ParameterSlot.laidOut([("a", [2, 3]), ("b", []), ("c", [0, 4]), ("d", [5])])
    #expect(slots.map(\.name) == ["a", "b", "c", "d"])
    #expect(slots.map(\.offset) == [0, 6, 7, 7])
    #expect(slots.map(\.count) == [6, 1, 0, 5])
    #expect(ParameterSlot.laidOut([]) == [])
  }
}
