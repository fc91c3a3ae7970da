import Glibc

/// Code that no signal handler may run in the middle of. A handler of the host (for Ctrl-C, a timer, a profiler) that
/// interrupts oneDNN's generated matrix kernels leaves the heap corrupted: its frame seems to overwrite what they keep
/// below the stack pointer, further down than the ABI protects (docs/adr/0016).
enum SignalGuard {
  /// All signals but those that the running instruction itself causes.
  private static let deferred: sigset_t = {
    var set = sigset_t()
    sigfillset(&set)
    for number in [SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS] { sigdelset(&set, number) }
    return set
  }()

  /// Signals for this thread wait until `body` is done. Two system calls, less than a microsecond.
  static func run<Result, Failure>(_ body: () throws(Failure) -> Result) throws(Failure) -> Result {
    var set = deferred
    var before = sigset_t()
    guard pthread_sigmask(SIG_BLOCK, &set, &before) == 0 else { return try body() }
    defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
    return try body()
  }
}
