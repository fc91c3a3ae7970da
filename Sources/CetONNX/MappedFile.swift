import CetFormats
import CetTensor
import Glibc

/// Read-only bytes that stay in place as long as the object lives: a mapped file, or a copy of what a caller
/// gave. A mapped file that somebody else shortens meanwhile cannot be read any more (the system's limit, not
/// ours); replacing it by renaming, as `ModelWriter` does, is safe.
final class FileBytes: @unchecked Sendable {
  let base: UnsafeRawPointer
  let byteCount: Int
  /// Of the mapped file; nil for a copy.
  let identity: FileIdentity?
  private let isMapping: Bool

  var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: byteCount) }

  /// Maps the file at `path`; `what` is how messages call it.
  init(mapping path: String, what: String) throws(CetError) {
    // Without O_NONBLOCK opening a pipe would wait for its other end.
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { throw CetError(.io, "cannot open \(what) '\(path)': \(systemErrorText())") }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else {
      throw CetError(.io, "cannot read \(what) '\(path)': \(systemErrorText())")
    }
    guard status.st_mode & S_IFMT == S_IFREG else {
      let found = status.st_mode & S_IFMT == S_IFDIR ? "a directory" : "a device or pipe"
      throw CetError(.io, "cannot read \(what) '\(path)': expected a regular file, got \(found)")
    }
    byteCount = Int(status.st_size)
    identity = FileIdentity(status)
    isMapping = byteCount > 0
    guard isMapping else {  // an empty range cannot be mapped
      base = UnsafeRawPointer(try FileBytes.allocate(0))
      return
    }
    guard let address = mmap(nil, byteCount, PROT_READ, MAP_PRIVATE, descriptor, 0), address != MAP_FAILED else {
      throw CetError(.io, "cannot map \(what) '\(path)' of \(byteCount) bytes: \(systemErrorText())")
    }
    base = UnsafeRawPointer(address)
  }

  init(copying source: UnsafeRawBufferPointer) throws(CetError) {
    let memory = try FileBytes.allocate(source.count)
    if let start = source.baseAddress { memory.copyMemory(from: start, byteCount: source.count) }
    base = UnsafeRawPointer(memory)
    byteCount = source.count
    identity = nil
    isMapping = false
  }

  deinit {
    let memory = UnsafeMutableRawPointer(mutating: base)
    if isMapping { munmap(memory, byteCount) } else { free(memory) }
  }

  private static func allocate(_ byteCount: Int) throws(CetError) -> UnsafeMutableRawPointer {
    var memory: UnsafeMutableRawPointer?
    guard posix_memalign(&memory, 64, max(byteCount, 64)) == 0, let memory else {
      throw CetError(.outOfMemory, "cannot allocate \(byteCount) bytes for the model", bytesNeeded: byteCount)
    }
    return memory
  }

  /// The part of the bytes that `range` names; the caller got the range from a reader over them.
  func slice(_ range: Range<Int>) -> UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: bytes[range]) }
}

/// Which file it is, whatever name or link leads to it. A file that is mapped keeps its number.
struct FileIdentity: Equatable {
  private let device: dev_t
  private let number: ino_t

  init(_ status: stat) {
    device = status.st_dev
    number = status.st_ino
  }

  /// nil when nothing is there.
  init?(path: String) {
    var status = stat()
    guard stat(path, &status) == 0 else { return nil }
    self.init(status)
  }
}
