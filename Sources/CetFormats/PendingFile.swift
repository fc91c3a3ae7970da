import CetTensor
import Glibc

/// A file under a temporary name in the folder of its target, which takes the target's name when it is
/// complete and on disk. One that is not committed disappears.
public final class PendingFile {
  private let target: String
  private let temporary: String
  private var descriptor: Int32
  private var isCommitted = false

  /// `target` is a path from `target(of:)`.
  public init(_ target: String) throws(CetError) {
    self.target = target
    let folder = target.splitAtLastSlash.folder
    var attempt = 0
    var name: String
    var file: Int32
    repeat {
      name = folder + "/.cet-\(getpid())-\(attempt).tmp"
      file = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
      attempt += 1
    } while file < 0 && errno == EEXIST && attempt < 10_000
    guard file >= 0 else { throw CetError(.io, "cannot write '\(target)': \(systemErrorText())") }
    temporary = name
    descriptor = file
    var status = stat()
    if stat(target, &status) == 0 { fchmod(file, status.st_mode & 0o777) }
  }

  deinit {
    if descriptor >= 0 { close(descriptor) }
    if !isCommitted { unlink(temporary) }
  }

  /// Where a file at `path` is written: through symbolic links, and never over a folder or a device.
  public static func target(of path: String) throws(CetError) -> String {
    guard !path.isEmpty, !path.utf8.contains(0) else { throw CetError(.invalidArgument, "the output path is empty") }
    var status = stat()
    guard lstat(path, &status) == 0 else {
      guard errno == ENOENT else { throw CetError(.io, "cannot write '\(path)': \(systemErrorText())") }
      return path
    }
    guard let resolved = resolvedPath(path), stat(resolved, &status) == 0 else {
      throw CetError(.io, "cannot write '\(path)': \(systemErrorText())")
    }
    guard status.st_mode & S_IFMT == S_IFREG else {
      throw CetError(.io, "cannot write '\(path)': a folder or device of that name is there")
    }
    return resolved
  }

  /// Puts the complete file in the target's place.
  public func commit() throws(CetError) {
    guard fsync(descriptor) == 0 || errno == EINVAL else { throw failure() }
    let closed = close(descriptor)
    descriptor = -1
    guard closed == 0, rename(temporary, target) == 0 else { throw failure() }
    isCommitted = true
    // The new name is safe once the folder is on disk as well; some file systems cannot do that.
    let folder = open(target.splitAtLastSlash.folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    if folder >= 0 {
      fsync(folder)
      close(folder)
    }
  }

  /// Appends bytes.
  public func writeAll(_ bytes: UnsafeRawBufferPointer) throws(CetError) {
    var rest = bytes
    while let start = rest.baseAddress, !rest.isEmpty {
      let written = Glibc.write(descriptor, start, min(rest.count, 1 << 30))
      if written < 0 {
        if errno == EINTR { continue }
        throw failure()
      }
      rest = UnsafeRawBufferPointer(rebasing: rest[written...])
    }
  }

  private func failure() -> CetError { CetError(.io, "cannot write '\(target)': \(systemErrorText())") }
}
