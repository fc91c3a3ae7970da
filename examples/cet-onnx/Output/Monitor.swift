import CCet
import Glibc

/// What the library reports during a call: a progress bar on a terminal, cancellation, and notes for the summary.
final class Monitor {
  private(set) var notes: [String] = []
  private var bar: ProgressBar?

  /// A bar is drawn on standard error only when that is a terminal.
  init(quiet: Bool) {
    if !quiet, ProgressBar.isPossible { bar = ProgressBar() }
  }

  /// What the bar stands for, when one command does several things.
  var title = ""

  /// For the library's `user_data`; valid as long as the monitor.
  var userData: UnsafeMutableRawPointer { Unmanaged.passUnretained(self).toOpaque() }

  /// Progress of the tool's own work.
  func show(_ label: String, _ done: Int, _ total: Int) { bar?.show(label, UInt64(done), UInt64(total)) }

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
    let name = String(cString: cet_phase_string(phase))
    // The iteration's total is a limit that it seldom reaches.
    bar?.show(title.isEmpty ? name : "\(title) \(name)", done, total, isLimit: phase == CET_PHASE_EIGENSOLVE)
  }
}

/// One line that is drawn over: phase, bar, count and the time that the phase still needs.
struct ProgressBar {
  private var label = ""
  private var done: UInt64 = 0
  private var started = 0.0
  private var drawn = 0.0
  private var isShown = false

  static var isPossible: Bool {
    isatty(STDERR_FILENO) == 1 && getenv("TERM").map { String(cString: $0) } != "dumb"
  }

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
    drawn = now
    isShown = true
    writeError("\r" + line(now, done, total, isLimit) + "\u{1b}[K")
  }

  mutating func clear() {
    if isShown { writeError("\r\u{1b}[K") }
    isShown = false
    label = ""
  }

  private func line(_ now: Double, _ done: UInt64, _ total: UInt64, _ isLimit: Bool) -> String {
    guard total > 0 else { return label }
    let share = min(1, Double(done) / Double(total))
    var rest = ""
    // The first moments say little about the speed.
    if share > 0, share < 1, now - started > 0.5 {
      rest = (isLimit ? "  ETA at most " : "  ETA ") + clock((now - started) * (1 - share) / share)
    }
    let counts = String(format: "%3d%%", Int(share * 100)) + "  \(done)/\(total)\(rest)"
    let name = label.padded(to: 16)
    let room = min(40, columns - 1 - name.count - counts.count - 5)
    guard room >= 8 else { return String("\(name)\(counts)".prefix(max(1, columns - 1))) }
    let filled = Int(share * Double(room))
    return "\(name) [\(String(repeating: "#", count: filled))\(String(repeating: ".", count: room - filled))] \(counts)"
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
