import COpenBLAS

#if CET_ONEDNN
  import COneDNN
#endif

/// Kernels run on the thread that calls them: parallelism comes from tasks (`Workers`), never from inside a
/// library. oneDNN's setting is a property of the calling thread; OpenBLAS's is a property of the process, so
/// it is put back when the last user leaves.
public enum SerialKernels {
  public static func run<Result, Failure>(_ body: () throws(Failure) -> Result) throws(Failure) -> Result {
    try KernelThreads.run(1, body)
  }
}

/// Kernels that are called one after another may use several threads inside a library.
public enum KernelThreads {
  public static func run<Result, Failure>(_ threads: Int, _ body: () throws(Failure) -> Result) throws(Failure) -> Result {
    // A library's thread takes memory for good, OpenBLAS's 128 MB: none is made that no processor could run, and none at all
    // where addresses are short.
    let most = min(threads, Workers.processorCount)
    let threads: Int32 = most > 1 && SystemMemory.hasRoom(for: most << 28) ? Int32(clamping: most) : 1
    #if CET_ONEDNN
      let before = omp_get_max_threads()
      omp_set_num_threads(threads)
      defer { omp_set_num_threads(before) }
    #endif
    OpenBLASThreads.shared.enter(threads)
    defer { OpenBLASThreads.shared.leave(threads) }
    return try body()
  }
}

/// The process has one number of threads for all users of OpenBLAS: the least that any of them asks for.
private final class OpenBLASThreads: @unchecked Sendable {
  static let shared = OpenBLASThreads()
  private let lock = Lock()
  /// Users by the number they ask for.
  private var users: [Int32: Int] = [:]
  private var before: Int32 = 1

  func enter(_ threads: Int32) {
    lock.withLock {
      if users.isEmpty { before = openblas_get_num_threads() }
      users[threads, default: 0] += 1
      set()
    }
  }

  func leave(_ threads: Int32) {
    lock.withLock {
      users[threads, default: 1] -= 1
      if users[threads] == 0 { users[threads] = nil }
      set()
    }
  }

  private func set() {
    let wanted = users.keys.min() ?? before
    if openblas_get_num_threads() != wanted { openblas_set_num_threads(wanted) }
  }
}
