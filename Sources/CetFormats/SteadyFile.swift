import CetTensor
import Glibc

/// A regular file that is copied into memory while others may write to it or replace it: what was read is of one state of the
/// file, or the call fails. Size and time of the last change are compared around every read. They can hide a change, within a
/// tick of the clock or by a writer with a shared mapping, so a file that was changed lately is read twice and compared.
/// A descriptor is open only while bytes are read, because a model may have its tensors in more files than a process may open.
public final class SteadyFile {
  public let byteCount: Int
  public let mark: FileMark
  private let name: Name
  private let state: State
  private let isRecent: Bool

  /// Dirty pages of a shared mapping are written back, after which the next write shows in the times, within about half of it.
  private static let recentSeconds = 60

  /// `what` is how messages call the file; nil where they are put behind its path.
  public init(path: String, what: String?) throws(CetError) {
    name = Name(path: path, what: what)
    let (descriptor, status) = try name.open()
    defer { close(descriptor) }
    state = State(status)
    byteCount = state.byteCount
    mark = FileMark(descriptor, status)
    var now = timespec()
    clock_gettime(CLOCK_REALTIME, &now)
    isRecent = status.st_ctim.tv_sec >= now.tv_sec - SteadyFile.recentSeconds
    try FileWatch.expect(byteCount, .reading)
  }

  /// Fills the buffer with the bytes from `offset` on.
  public func read(at offset: Int, into buffer: UnsafeMutableRawBufferPointer) throws(CetError) {
    let (descriptor, status) = try name.open()
    defer { close(descriptor) }
    guard mark.identity == FileIdentity(status) else { throw changed("replaced by another") }
    try check(status)
    try fill(buffer, descriptor, offset, isFirst: true)
    let after = try name.status(descriptor)
    try check(after)
    // A name that a file got or lost changes its other time, and so does setting the first one back.
    if isRecent || State.changeTime(status) != State.changeTime(after) || state.changed != State.changeTime(after) {
      try compare(UnsafeRawBufferPointer(buffer), descriptor, offset)
    }
  }

  /// To be called when all of `parts` were read, which must be of the same state of the file.
  public func check(_ parts: [(offset: Int, bytes: UnsafeRawBufferPointer)]) throws(CetError) {
    guard isRecent, parts.count > 1 else { return }
    let (descriptor, status) = try name.open()
    defer { close(descriptor) }
    guard mark.identity == FileIdentity(status) else { throw changed("replaced by another") }
    for part in parts { try compare(part.bytes, descriptor, part.offset) }
    try check(name.status(descriptor))
  }

  private func check(_ status: stat) throws(CetError) {
    let found = State(status)
    guard found.byteCount == byteCount else { throw changed("changed from \(byteCount) to \(found.byteCount) bytes") }
    guard found.modified == state.modified else { throw changed("written to") }
  }

  private func changed(_ how: String) -> CetError { name.error("was \(how) while it was read") }

  private func fill(
    _ buffer: UnsafeMutableRawBufferPointer, _ descriptor: Int32, _ offset: Int, isFirst: Bool
  ) throws(CetError) {
    var done = 0
    while done < buffer.count, let start = buffer.baseAddress {
      let found = pread(descriptor, start + done, min(buffer.count - done, FileWatch.piece), offset + done)
      if found < 0 {
        if errno == EINTR { continue }
        throw name.cannot(.read, systemErrorText())
      }
      guard found > 0 else { throw changed("cut to \(offset + done) of \(byteCount) bytes") }
      done += found
      if isFirst { try FileWatch.passed(found, .reading) } else { try FileWatch.check() }
    }
    // Files of /proc hold more than they say.
    var byte: UInt8 = 0
    guard offset + done < byteCount || pread(descriptor, &byte, 1, byteCount) <= 0 else {
      throw name.cannot(.read, "it has more than the \(byteCount) bytes that its size says")
    }
  }

  private func compare(_ bytes: UnsafeRawBufferPointer, _ descriptor: Int32, _ offset: Int) throws(CetError) {
    let piece = UnsafeMutableRawBufferPointer.allocate(byteCount: min(bytes.count, 1 << 20), alignment: 64)
    defer { piece.deallocate() }
    var done = 0
    while done < bytes.count, let base = bytes.baseAddress, let start = piece.baseAddress {
      let count = min(piece.count, bytes.count - done)
      try fill(UnsafeMutableRawBufferPointer(rebasing: piece[..<count]), descriptor, offset + done, isFirst: false)
      guard memcmp(start, base + done, count) == 0 else { throw changed("written to") }
      done += count
    }
  }

  private struct State {
    let byteCount: Int
    let modified: [Int]
    let changed: [Int]

    init(_ status: stat) {
      byteCount = Int(status.st_size)
      modified = [status.st_mtim.tv_sec, status.st_mtim.tv_nsec]
      changed = State.changeTime(status)
    }

    static func changeTime(_ status: stat) -> [Int] { [status.st_ctim.tv_sec, status.st_ctim.tv_nsec] }
  }

  /// A path, and how messages speak of it.
  private struct Name {
    enum Deed: String { case open, read }
    let path: String
    let what: String?

    func open() throws(CetError) -> (Int32, stat) {
      // Without O_NONBLOCK opening a pipe would wait for its other end.
      let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
      guard descriptor >= 0 else { throw cannot(.open, systemErrorText()) }
      do {
        return (descriptor, try status(descriptor))
      } catch {
        close(descriptor)
        throw error
      }
    }

    func status(_ descriptor: Int32) throws(CetError) -> stat {
      var status = stat()
      guard fstat(descriptor, &status) == 0 else { throw cannot(.read, systemErrorText()) }
      guard status.st_mode & S_IFMT == S_IFREG else {
        let found = status.st_mode & S_IFMT == S_IFDIR ? "a directory" : "a device or pipe"
        throw cannot(.read, "expected a regular file, got \(found)")
      }
      return status
    }

    func cannot(_ deed: Deed, _ reason: String) -> CetError {
      guard let what else { return CetError(.io, "cannot be \(deed == .open ? "opened" : "read"): \(reason)") }
      return CetError(.io, "cannot \(deed) \(what) '\(path)': \(reason)")
    }

    func error(_ text: String) -> CetError { CetError(.io, what.map { "\($0) '\(path)' \(text)" } ?? text) }
  }
}

/// Which file it is, whatever name or link leads to it.
public struct FileIdentity: Equatable {
  private let device: dev_t
  private let number: ino_t

  init(_ status: stat) {
    device = status.st_dev
    number = status.st_ino
  }

  /// nil when nothing is there.
  public init?(path: String) {
    var status = stat()
    guard stat(path, &status) == 0 else { return nil }
    self.init(status)
  }
}

/// The identity of a file that was read: a mapping that nobody looks at keeps the system from giving its number to another
/// file when it is removed, and takes no descriptor.
public final class FileMark: @unchecked Sendable {
  public let identity: FileIdentity
  private let mapping: UnsafeMutableRawPointer?

  init(_ descriptor: Int32, _ status: stat) {
    identity = FileIdentity(status)
    let address = mmap(nil, 1, PROT_NONE, MAP_PRIVATE, descriptor, 0)
    mapping = address == MAP_FAILED ? nil : address
  }

  deinit { if let mapping { munmap(mapping, 1) } }
}
