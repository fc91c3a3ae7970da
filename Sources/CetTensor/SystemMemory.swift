import CKernels
import Glibc

/// Memory of the machine, or of the control group that the process runs in.
public enum SystemMemory {
  /// Bytes that can be used without swapping; nil when the system does not say.
  public static var availableBytes: Int? {
    [machineBytes, groupBytes, addressBytes].compactMap { $0 }.min()
  }

  /// What is left for the many small things that nobody counts, and for libraries: code that they generate, stacks.
  private static let headroom = 24 << 20

  /// Threads that end, OpenBLAS's when the process exits among them, have the C library look for its unwinder, and where it has no
  /// memory for that it aborts: so it looks while there is some.
  private static let unwinder: Void = ck_find_unwinder()

  /// Whether there is a limit on the process's addresses.
  static var isLimited: Bool { addressBytes != nil }

  /// Whether the process may have so many bytes of addresses more and keeps some: true without a limit on them.
  static func hasRoom(for byteCount: Int) -> Bool { addressBytes.map { byteCount <= $0 - headroom } ?? true }

  /// Whether what libraries make once, oneDNN's code of matrix products, is there: threads that made it at the same time as others
  /// take memory would end the process where there is none left.
  static func isPrepared() -> Bool {
    #if CET_ONEDNN
      return (try? OneDNN.prepare()) != nil
    #else
      return true
    #endif
  }

  private static let allocating = Lock()

  /// `allocate` where a limit on addresses leaves room for so many bytes, one at a time: of two that both found room one might find
  /// what is kept back. Small pieces come from that. nil: there is no room.
  static func ifRoom<Result>(for byteCount: Int, _ allocate: () -> Result?) -> Result? {
    guard byteCount >= 1 << 16, isLimited else { return allocate() }
    return allocating.withLock { hasRoom(for: byteCount) ? allocate() : nil }
  }

  /// Throws where a limit on addresses leaves little: what runs into it elsewhere than here ends the process, small values
  /// of Swift and oneDNN among them.
  public static func checkHeadroom() throws(CetError) {
    _ = unwinder
    guard hasRoom(for: 0) else {
      throw CetError(.outOfMemory, "the process's limit on addresses leaves less than \(headroom) bytes")
    }
  }

  /// Throws where there is no room for so many bytes: asked before Swift makes an array of a size that data chose, because
  /// where it cannot it ends the process.
  public static func checkRoom(for byteCount: Int) throws(CetError) {
    guard byteCount >= 0, byteCount < 1 << 16 || hasRoom(for: byteCount), byteCount < 1 << 31 || byteCount <= availableBytes ?? .max else {
      throw CetError(.outOfMemory, "cannot allocate \(byteCount) bytes", bytesNeeded: byteCount)
    }
  }

  /// Throws where an array that is full has no room to grow: to be called before each element is appended to an array whose length
  /// data chose. Swift's arrays double, and the old one is there until the new one is filled.
  /// - Parameter bytes: of an element, with what hangs on it.
  @inline(__always)
  public static func checkGrowth<Element>(of array: [Element], bytes: Int = MemoryLayout<Element>.stride) throws(CetError) {
    if array.count >= 1 << 10, array.count == array.capacity { try checkRoom(for: .saturatingProduct(2 * array.count, bytes)) }
  }

  /// What of `asked` a limit on the process's addresses leaves: more than that is no memory that a call may have.
  public static func attainable(_ asked: Int) -> Int { addressBytes.map { min(asked, max(0, $0 - headroom)) } ?? asked }

  /// What a limit on the process's addresses (ulimit -v) leaves.
  private static var addressBytes: Int? {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit) == 0, limit.rlim_cur < rlim_t(Int.max),
      let pages = text("/proc/self/statm")?.split(separator: " ").first.flatMap({ Int($0) })
    else { return nil }
    return max(0, Int(limit.rlim_cur) - pages * Int(sysconf(Int32(_SC_PAGESIZE))))
  }

  /// What the kernel estimates: free memory and what it can take back at once.
  private static var machineBytes: Int? {
    guard let line = text("/proc/meminfo")?.split(separator: "\n").first(where: { $0.hasPrefix("MemAvailable:") }),
      let kilobytes = line.split(separator: " ").dropFirst().first.flatMap({ Int($0) })
    else { return nil }
    return kilobytes * 1024
  }

  /// What the control group leaves (version 2; a limit "max" is none). Pages of files that were read count as used, and are
  /// given back at once.
  private static var groupBytes: Int? {
    guard let limit = number("/sys/fs/cgroup/memory.max"), let used = number("/sys/fs/cgroup/memory.current") else {
      return nil
    }
    let lines = text("/sys/fs/cgroup/memory.stat")?.split(separator: "\n") ?? []
    let idle = lines.first { $0.hasPrefix("inactive_file ") }.flatMap { Int($0.dropFirst("inactive_file ".count)) } ?? 0
    return max(0, limit - used + min(idle, used))
  }

  private static func number(_ path: String) -> Int? {
    text(path).flatMap { $0.split(separator: "\n").first.flatMap { Int($0) } }
  }

  private static func text(_ path: String) -> String? {
    guard let file = fopen(path, "r") else { return nil }
    defer { fclose(file) }
    var bytes = [UInt8](repeating: 0, count: 1 << 13)
    let count = fread(&bytes, 1, bytes.count, file)
    return String(decoding: bytes.prefix(count), as: UTF8.self)
  }
}

/// Bytes that a call may hold: what its options say and the process may have, or 60 % of the memory that is available now.
/// - Parameter reserved: bytes that another part of this process will take of it.
public func memoryLimit(_ asked: Int?, processes: Int = 1, reserved: Int = 0) -> Int {
  asked.map(SystemMemory.attainable) ?? max(0, (SystemMemory.availableBytes ?? 8 << 30) / processes - reserved) / 5 * 3
}
