import CetFormats
import CetTensor
import Glibc

/// What a host hears of files in calls that have no monitor.
public typealias FileWatch = CetFormats.FileWatch

/// Steps of a long call, as reported to the host.
public enum Phase: Int32, Sendable, CaseIterable {
  case prepare = 1
  case statistics = 2
  case sensitivity = 3
  case curvature = 4
  case eigensolve = 5
  case allocate = 6
  case rounding = 7
  case measure = 8
  case write = 9
  case run = 10
  case read = 11
}

public enum LogLevel: Int32, Sendable {
  case info = 1
  case warning = 2
}

/// The host's view into a long call: progress, log, and the wish to stop. May be used from any thread; the host's
/// callbacks run on the thread that made the monitor only.
public final class Monitor: @unchecked Sendable {
  /// Returns false to stop.
  public typealias Progress = (_ phase: Phase, _ done: Int, _ total: Int) -> Bool
  public typealias Log = (_ level: LogLevel, _ message: String) -> Void

  private let progress: Progress?
  private let log: Log?
  /// Threads that the call's work runs on, in place of the library's own.
  public let threads: HostThreads?
  private let owner = pthread_self()
  private let lock = Lock()
  private var stopped = false
  /// The last report, in the caller's units, with what former runs of the same phase had in all.
  private var latest: (phase: Phase, done: Int, total: Int, before: Int)?
  private var attendance: Attendance?
  private var waiting: [(LogLevel, String)] = []

  public init(progress: Progress? = nil, log: Log? = nil, threads: HostThreads? = nil) {
    self.progress = progress
    self.log = log
    self.threads = threads
  }

  /// Workers of a call that the host may stop.
  func workers(_ count: Int) -> Workers { Workers(threads: count, interruption: Interruption(check), host: threads) }

  /// How long the host hears nothing at most.
  private static let silence = 0.25

  /// Computes on another thread, while this one, which made the monitor, hears what there is to report and asks the
  /// host at least every quarter of a second whether to go on. Without callbacks `body` runs here.
  public func attended<Value>(_ body: () throws(CetError) -> Value) throws(CetError) -> Value {
    guard progress != nil || log != nil, isOwner, lock.withLock({ self.attendance == nil }) else { return try body() }
    let attendance = Attendance()
    lock.withLock { self.attendance = attendance }
    defer {
      lock.withLock { self.attendance = nil }
      flush()
    }
    return try attendance.run(idleSeconds: Monitor.silence, idle: {
      flush()
      ask()
    }, body)
  }

  private var isOwner: Bool { pthread_equal(owner, pthread_self()) != 0 }

  /// Reports that `done` of `total` units are complete; throws `cancelled` once the host wants to stop.
  public func report(_ phase: Phase, _ done: Int, of total: Int) throws(CetError) {
    try check()
    if isOwner {
      deliver(phase, done, of: total)
    } else if let attendance = lock.withLock({ self.attendance }) {
      attendance.ask { deliver(phase, done, of: total) }
    }
    try check()
  }

  /// On the owner's thread.
  private func deliver(_ phase: Phase, _ done: Int, of total: Int) {
    flush()
    // What is shown never goes back: workers finish in any order, and a phase that runs again counts on.
    lock.withLock {
      var (highest, before) = (done, 0)
      if let latest, latest.phase == phase {
        let isNew = total != latest.total || (done <= 1 && latest.done >= latest.total)
        before = latest.before + (isNew ? latest.total : 0)
        if !isNew { highest = max(latest.done, done) }
      }
      latest = (phase, min(highest, total), total, before)
    }
    ask()
  }

  /// Tells the host the last report, and hears whether to go on. On the owner's thread.
  private func ask() {
    guard let progress else { return }
    let last = lock.withLock { latest } ?? (.prepare, 0, 1, 0)
    if !progress(last.phase, last.before + last.done, last.before + last.total) { lock.withLock { stopped = true } }
  }

  /// Throws `cancelled` once the host wants to stop.
  public func check() throws(CetError) {
    if lock.withLock({ stopped }) { throw CetError(.cancelled, "cancelled by the progress callback") }
  }

  /// One line for the host's log. From another thread it waits until the owner's next report.
  public func log(_ level: LogLevel, _ message: String) {
    guard log != nil else { return }
    lock.withLock { waiting.append((level, message)) }
    if isOwner { flush() }
  }

  /// Hands over what other threads logged. On the owner's thread only.
  public func flush() {
    guard let log else { return }
    let lines = lock.withLock {
      defer { waiting.removeAll() }
      return waiting
    }
    for (level, message) in lines { log(level, message) }
  }
}
