import CetTensor
import Glibc

/// Who hears of the files that a thread's call reads and writes, and may end it. It belongs to the thread, so that readers deep
/// below need not hand it on; a call sets it around what it does.
public final class FileWatch {
  public enum Direction { case reading, writing }

  /// Returns false to stop.
  public typealias Hear = (_ direction: Direction, _ done: Int, _ total: Int) -> Bool

  /// Bytes between two looks at the clock at most, where a reader or writer can choose: some hundredths of a second.
  static let piece = 1 << 22
  /// Seconds between two calls of the host.
  private static let silence = 0.05

  private let hear: Hear
  private var counts: [Direction: (done: Int, total: Int)] = [:]
  private var latest: Direction?
  private var heardAt = -Double.infinity
  private var isStopped = false

  public init(_ hear: @escaping Hear) { self.hear = hear }

  /// Runs `body` with this watch as the thread's, in place of that of a call within which it may be.
  public func during<Value>(_ body: () throws -> Value) throws -> Value {
    let before = FileWatch.key.flatMap { pthread_getspecific($0) }
    guard let key = FileWatch.key, pthread_setspecific(key, Unmanaged.passUnretained(self).toOpaque()) == 0 else {
      throw CetError(.outOfMemory, "cannot keep a value for this thread")
    }
    defer { pthread_setspecific(key, before) }
    return try body()
  }

  private static let key: pthread_key_t? = {
    var key = pthread_key_t()
    return pthread_key_create(&key, nil) == 0 ? key : nil
  }()

  private static var current: FileWatch? {
    guard let key, let raw = pthread_getspecific(key) else { return nil }
    return Unmanaged<FileWatch>.fromOpaque(raw).takeUnretainedValue()
  }

  /// So many bytes are going to be read or written.
  public static func expect(_ bytes: Int, _ direction: Direction) throws(CetError) {
    guard let watch = current else { return }
    watch.counts[direction, default: (0, 0)].total += bytes
    try watch.tell(direction)
  }

  /// So many bytes were read or written.
  static func passed(_ bytes: Int, _ direction: Direction) throws(CetError) {
    guard let watch = current else { return }
    watch.counts[direction, default: (0, 0)].done += bytes
    try watch.tell(direction)
  }

  /// Throws `cancelled` once the host wants to stop: to be called every few hundredths of a second where no bytes move.
  public static func check() throws(CetError) {
    guard let watch = current else { return }
    try watch.tell(watch.latest ?? .reading)
  }

  private func tell(_ direction: Direction) throws(CetError) {
    latest = direction
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    let seconds = Double(now.tv_sec) + Double(now.tv_nsec) * 1e-9
    if seconds - heardAt >= FileWatch.silence, !isStopped {
      heardAt = seconds
      let (done, total) = counts[direction] ?? (0, 0)
      // What the host calls meanwhile is no part of this call.
      if let key = FileWatch.key { pthread_setspecific(key, nil) }
      isStopped = !hear(direction, done, max(done, total))
      if let key = FileWatch.key { pthread_setspecific(key, Unmanaged.passUnretained(self).toOpaque()) }
    }
    if isStopped { throw CetError(.cancelled, "cancelled by the progress callback") }
  }
}
