import CetTensor
import Testing

@Suite struct WorkersTests {
  @Test func limited_interruption_isAskedAsBefore() throws {
    let workers = Workers(threads: 4, interruption: Interruption { () throws(CetError) in throw CetError(.cancelled, "ended") })
    #expect(workers.limited(to: 2).threads == 2)
    #expect(workers.limited(to: 8).threads == 4)
    let error = #expect(throws: CetError.self) { try workers.limited(to: 2).forEach(3) { _ in } }
    #expect(error?.code == .cancelled)
  }

  @Test(arguments: [1, 2, 4])
  func ordered_anyThreads_combinesInOrder(_ threads: Int) throws {
    var seen: [Int] = []
    try Workers(threads: threads).ordered(100) { $0 * $0 } combine: { index, value in
      #expect(value == index * index)
      seen.append(index)
    }
    #expect(seen == Array(0..<100))
  }

  @Test(arguments: [1, 4])
  func ordered_severalErrors_theLowestIsThrown(_ threads: Int) throws {
    let error = #expect(throws: CetError.self) {
      try Workers(threads: threads).forEach(20) { if $0 >= 3 { throw CetError(.numeric, "\($0)") } }
    }
    #expect(error?.message == "3")
  }
}
