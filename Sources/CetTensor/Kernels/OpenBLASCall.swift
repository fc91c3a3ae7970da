import COpenBLAS
import Glibc

/// The one way into OpenBLAS. A call works in a buffer that OpenBLAS makes when there is none left, and it tries for ever where
/// the system has no memory for it: so there is a buffer for every call before it begins, or the call fails.
enum OpenBLASCall {
  static func run<Result>(_ body: () -> Result) throws(CetError) -> Result {
    try OpenBLASBuffers.shared.enter()
    defer { OpenBLASBuffers.shared.leave() }
    return body()
  }

  /// With no thread but the caller's: see `SerialKernels`.
  static func serial<Result>(_ body: () -> Result) throws(CetError) -> Result {
    try run { SerialKernels.run(body) }
  }
}

private final class OpenBLASBuffers: @unchecked Sendable {
  static let shared = OpenBLASBuffers()
  private let lock = Lock()
  private var calls = 0
  /// Buffers that were made here.
  private var made = 0

  /// Of a buffer: 128 MB on x86-64, less elsewhere.
  private static let byteCount = 128 << 20

  func enter() throws(CetError) {
    let isIn = lock.withLock {
      // Without a limit on addresses OpenBLAS makes its buffers itself.
      guard calls < made || !SystemMemory.isLimited || make(calls + 1) else { return false }
      calls += 1
      return true
    }
    guard isIn else {
      throw CetError(.outOfMemory, "cannot allocate \(OpenBLASBuffers.byteCount) bytes of addresses for OpenBLAS")
    }
  }

  func leave() { lock.withLock { calls -= 1 } }

  /// Buffers that are taken at the same time are different ones: all of them exist after that. They are addresses, not
  /// memory, until they are written to.
  private func make(_ count: Int) -> Bool {
    let threads = openblas_starts_threads() == 0 ? 0 : Workers.processorCount - 1
    guard SystemMemory.hasRoom(for: (count + threads) * OpenBLASBuffers.byteCount) else { return false }
    var buffers: [UnsafeMutableRawPointer] = []
    for _ in 0..<count {
      if let buffer = blas_memory_alloc(1) { buffers.append(buffer) }
    }
    for buffer in buffers { blas_memory_free(buffer) }
    made = max(made, buffers.count)
    return buffers.count == count
  }
}
