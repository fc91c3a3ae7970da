import CetTensor
import Testing

@Suite struct HostThreadsTests {
  /// A host that runs bodies one after another, backwards, or drops all of them.
  @Test(arguments: [[0, 1, 2], [2, 1, 0], [1], []])
  func whateverBodiesRun_sumIsInOrder(order: [Int]) throws {
    let host = HostThreads { count, body in for index in order where index < count { body(index) } }
    var seen: [Int] = []
    try Workers(threads: 3, host: host).ordered(20, compute: { $0 * $0 }, combine: { index, value in
      #expect(value == index * index)
      seen.append(index)
    })
    #expect(seen == Array(0..<20))
  }

  @Test func taskThrows_lowestErrorIsThrown() {
    let host = HostThreads { count, body in for index in 0..<count { body(index) } }
    #expect(throws: CetError.self) {
      try Workers(threads: 4, host: host).forEach(9) { if $0 >= 3 { throw CetError(.numeric, "task \($0)") } }
    }
  }
}
