import CCet
import Glibc

/// What the library reports during a call: a progress bar on a terminal, cancellation, and notes for the summary.
final class Monitor {
  private(set) var notes: [String] = []
  private var bar: ProgressBar?
  private var run: RunProgress?
  private(set) var rounding = RoundingPace()

  /// A bar is drawn on standard error only when that is a terminal.
  init(quiet: Bool) {
    if !quiet, ProgressBar.isPossible { bar = ProgressBar() }
  }

  /// What the bar stands for, when one command does several things.
  var title = ""

  /// For the library's `user_data`; valid as long as the monitor.
  var userData: UnsafeMutableRawPointer { Unmanaged.passUnretained(self).toOpaque() }

  /// One bar for calls that follow each other, each announced by `nextCall`.
  func expect(_ calls: [[Stage]]) { run = RunProgress(calls, now: monotonicSeconds()) }

  func nextCall() { run?.nextCall() }

  /// Progress of the tool's own work.
  func show(_ label: String, _ done: Int, _ total: Int) {
    guard total > 0 else { return }
    // After the library's calls little is left of a run.
    bar?.show(label, share: run?.share ?? min(1, Double(done) / Double(total)), rest: nil)
  }

  /// Removes the bar.
  func finish() { bar?.clear() }

  deinit { bar?.clear() }

  static let progress: cet_progress_fn = { phase, done, total, userData in
    if let userData { Unmanaged<Monitor>.fromOpaque(userData).takeUnretainedValue().update(phase, done, total) }
    return Interrupt.isRequested ? 1 : 0
  }

  static let log: cet_log_fn = { level, message, userData in
    guard let userData, let message, level == CET_LOG_WARNING else { return }
    let monitor = Unmanaged<Monitor>.fromOpaque(userData).takeUnretainedValue()
    monitor.note([String(cString: message)])
  }

  /// Lines for the summary, each once.
  func note(_ lines: [String]) {
    for line in lines where !notes.contains(line) { notes.append(line) }
  }

  private func update(_ phase: cet_phase, _ done: UInt64, _ total: UInt64) {
    let now = monotonicSeconds()
    rounding.add(phase, done, total, now: now)
    let name = String(cString: cet_phase_string(phase))
    let label = title.isEmpty ? name : "\(title) \(name)"
    guard run != nil else {
      // One call of one phase; an iteration's total is a limit that it seldom reaches.
      bar?.show(label, done, total, isLimit: phase == CET_PHASE_EIGENSOLVE)
      return
    }
    run?.update(phase, done, total, now: now)
    if let run { bar?.show(label, share: run.share, rest: run.rest) }
  }
}

/// What one layer took to round where a plan was judged as a whole.
struct RoundingPace {
  private var isJudging = false
  private var last: (done: UInt64, time: Double)?
  private var units: UInt64 = 0
  private var seconds = 0.0

  mutating func add(_ phase: cet_phase, _ done: UInt64, _ total: UInt64, now: Double) {
    if phase == CET_PHASE_ALLOCATE { isJudging = done < total }
    guard isJudging, phase == CET_PHASE_ROUNDING else { return last = nil }
    if let last, done > last.done {
      units += done - last.done
      seconds += now - last.time
    }
    last = (done, now)
  }

  /// NaN: nothing was rounded.
  var secondsPerLayer: Double { units == 0 ? .nan : seconds / Double(units) }
}

/// One line that is drawn over: phase, bar, share, and the time that is left.
struct ProgressBar {
  private var label = ""
  private var done: UInt64 = 0
  private var started = 0.0
  private var drawn = 0.0
  private var isShown = false

  static var isPossible: Bool {
    isatty(STDERR_FILENO) == 1 && getenv("TERM").map { String(cString: $0) } != "dumb"
  }

  /// A part of a run whose time is known by its share.
  mutating func show(_ label: String, share: Double, rest: Double?) {
    let now = monotonicSeconds()
    guard label != self.label || now - drawn >= 0.1 || share >= 1 else { return }
    self.label = label
    draw(now, share, rest.map { "ETA \(clock(max(1, $0.rounded(.up))))" } ?? "")
  }

  /// A call by itself: what is left is reckoned from its own pace.
  mutating func show(_ label: String, _ done: UInt64, _ total: UInt64, isLimit: Bool = false) {
    let now = monotonicSeconds()
    defer { self.done = done }
    // A step that comes again starts anew.
    if label != self.label || done < self.done {
      self.label = label
      started = now
    } else if done < total, now - drawn < 0.1 {
      return
    }
    let share = total > 0 ? min(1, Double(done) / Double(total)) : 0
    var rest = ""
    // The first moments say little about the speed.
    if share > 0, share < 1, now - started > 2 {
      rest = (isLimit ? "ETA at most " : "ETA ") + clock((now - started) * (1 - share) / share)
    }
    draw(now, share, rest)
  }

  mutating func clear() {
    if isShown { writeError("\r\u{1b}[K") }
    isShown = false
    label = ""
  }

  private mutating func draw(_ now: Double, _ share: Double, _ rest: String) {
    drawn = now
    isShown = true
    let end = String(format: "%3d%%", Int(share * 100)) + (rest.isEmpty ? "" : "  \(rest)")
    let name = label.padded(to: 16)
    let room = min(40, columns - 1 - name.count - end.count - 5)
    var line = String("\(name)\(end)".prefix(max(1, columns - 1)))
    if room >= 8 {
      let filled = Int(share * Double(room))
      line = "\(name) [\(String(repeating: "#", count: filled))\(String(repeating: ".", count: room - filled))] \(end)"
    }
    writeError("\r" + line + "\u{1b}[K")
  }

  private var columns: Int {
    var size = winsize()
    guard ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
    return Int(size.ws_col)
  }
}

func monotonicSeconds() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
}
