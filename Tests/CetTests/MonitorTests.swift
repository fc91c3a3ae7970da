import CetTensor
import Testing

@testable import Cet

@Suite struct MonitorTests {
  @Test func progress_thatSaysStop_cancelsForGood() throws {
    var calls = 0
    let monitor = Monitor(progress: { _, _, _ in
      calls += 1
      return calls < 2
    })
    try monitor.report(.statistics, 1, of: 10)
    for _ in 0..<2 {
      do {
        try monitor.report(.statistics, 2, of: 10)
        Issue.record("not cancelled")
      } catch { #expect(error.code == .cancelled) }
    }
    #expect(calls == 2)
    #expect(throws: CetError.self) { try monitor.check() }
  }

  @Test func progress_doneNeverFallsWithinAPhase() throws {
    var seen: [Int] = []
    let monitor = Monitor(progress: { _, done, _ in
      seen.append(done)
      return true
    })
    for done in [1, 3, 2, 5] { try monitor.report(.rounding, done, of: 5) }
    try monitor.report(.measure, 1, of: 5)
    #expect(seen == [1, 3, 3, 5, 1])
  }

  @Test func progress_phaseThatRunsAgain_countsOn() throws {
    var seen: [[Int]] = []
    let monitor = Monitor(progress: { _, done, total in
      seen.append([done, total])
      return true
    })
    for done in [1, 2] { try monitor.report(.rounding, done, of: 2) }
    for done in [0, 2] { try monitor.report(.rounding, done, of: 2) }
    for done in [1, 3] { try monitor.report(.rounding, done, of: 3) }
    try monitor.report(.measure, 0, of: 1)
    try monitor.report(.rounding, 1, of: 3)
    #expect(seen == [[1, 2], [2, 2], [2, 4], [4, 4], [5, 7], [7, 7], [0, 1], [1, 3]])
  }

  @Test func callbacks_fromWorkers_runOnTheOwnersThread() throws {
    var lines: [String] = []
    var reports = 0
    let monitor = Monitor(
      progress: { _, _, _ in
        reports += 1
        return true
      }, log: { _, line in lines.append(line) })
    try Workers(threads: 4).forEach(64) { index in
      monitor.log(.info, "line \(index)")
      try monitor.report(.statistics, index, of: 64)
    }
    monitor.flush()
    #expect(Set(lines).count == 64)
    #expect(reports <= 64)
  }
}
