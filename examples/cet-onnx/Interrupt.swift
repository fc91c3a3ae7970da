import Glibc

// Written by the signal handler and read by the progress callback: a plain store that needs no initialisation.
nonisolated(unsafe) private var interruptRequested: sig_atomic_t = 0

/// Ctrl-C and SIGTERM: the running call of the library is cancelled through its progress callback, so that nothing
/// half-written stays behind. A second Ctrl-C ends the process at once.
enum Interrupt {
  static var isRequested: Bool { interruptRequested != 0 }

  /// The number of the signal that came.
  static var signal: Int32 { isRequested ? interruptRequested : SIGINT }

  static func install() {
    for number in [SIGINT, SIGTERM] {
      var former = sigaction()
      sigaction(number, nil, &former)
      // Started with the signal ignored (a background job of a script): leave it so.
      if unsafeBitCast(former.__sigaction_handler.sa_handler, to: Int.self) == 1 { continue }
      var action = sigaction()
      action.__sigaction_handler.sa_handler = { interruptRequested = $0 }
      action.sa_flags = Int32(bitPattern: UInt32(SA_RESETHAND)) | SA_RESTART
      sigaction(number, &action, nil)
    }
  }

  /// Between two calls of the library.
  static func check() throws {
    if isRequested { throw Failure.interrupted }
  }
}
