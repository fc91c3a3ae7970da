import COpenBLAS

#if CET_ONEDNN
  import COneDNN
#endif

/// Kernels run on the thread that calls them: parallelism comes from tasks (`Workers`), never from inside a
/// library. oneDNN's setting is a property of the calling thread; OpenBLAS's is a property of the process, so
/// it is put back when the last user leaves.
public enum SerialKernels {
  public static func run<Result>(_ body: () throws -> Result) rethrows -> Result {
    #if CET_ONEDNN
      let before = omp_get_max_threads()
      omp_set_num_threads(1)
      defer { omp_set_num_threads(before) }
    #endif
    OpenBLASThreads.shared.enter()
    defer { OpenBLASThreads.shared.leave() }
    return try body()
  }
}

private final class OpenBLASThreads: @unchecked Sendable {
  static let shared = OpenBLASThreads()
  private let lock = Lock()
  private var users = 0
  private var before: Int32 = 1

  func enter() {
    lock.withLock {
      users += 1
      guard users == 1 else { return }
      before = openblas_get_num_threads()
      if before != 1 { openblas_set_num_threads(1) }
    }
  }

  func leave() {
    lock.withLock {
      users -= 1
      if users == 0 && before != 1 { openblas_set_num_threads(before) }
    }
  }
}
