import Glibc

/// Writing beyond the process's limit on the size of files (`ulimit -f`) sends SIGXFSZ, which ends a process that has not said
/// otherwise. The library's writes hold it back for their thread and take it, so that the error EFBIG alone is left.
public enum FileSizeLimit {
  /// - Parameter body: calls the system; returns its error number, 0 for none.
  public static func heeded(_ body: () -> Int32) -> Int32 {
    var set = sigset_t()
    var before = sigset_t()
    sigemptyset(&set)
    sigaddset(&set, SIGXFSZ)
    guard pthread_sigmask(SIG_BLOCK, &set, &before) == 0 else { return body() }
    defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
    let error = body()
    // One that the host has held back itself is not ours to take.
    if error == EFBIG, sigismember(&before, SIGXFSZ) == 0 {
      var now = timespec()
      _ = sigtimedwait(&set, nil, &now)
    }
    return error
  }
}
