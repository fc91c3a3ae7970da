import CetTensor
import Glibc

/// A file under a temporary name in the folder of its target, which takes the target's name when it is
/// complete and on disk. One that is not committed disappears; one whose process was killed goes when the next is made for
/// the same target. The name says whose it is (`.<target>.cet-<process>-<number>.tmp`), and a lock, which goes with the
/// process, that somebody still writes it: process numbers come again, and are others in a container or on another machine.
public final class PendingFile {
  private let target: String
  private var temporary = ""
  private var descriptor: Int32 = -1
  private var isCommitted = false

  /// `target` is a path from `target(of:)`.
  public init(_ target: String) throws(CetError) {
    self.target = target
    PendingFile.removeOrphans(of: target)
    let place = PendingFile.place(of: target)
    var attempt = 0
    repeat {
      let number = String(UInt64.random(in: 0...(.max)), radix: 16)
      temporary = "\(place.folder)/\(place.prefix)\(getpid())-\(number)\(PendingFile.suffix)"
      descriptor = open(temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
      guard descriptor >= 0 else { throw failure() }
      attempt += 1
    } while !isOurs() && attempt < 100
    guard descriptor >= 0 else { throw CetError(.io, "cannot write '\(target)': its temporary files are removed at once") }
    var status = stat()
    if stat(target, &status) == 0 { fchmod(descriptor, status.st_mode & 0o777) }
  }

  deinit {
    guard descriptor >= 0 else { return }
    if !isCommitted { unlink(temporary) }
    close(descriptor)
  }

  /// Whether the new file is locked and there: another's search for orphans can come in between.
  private func isOurs() -> Bool {
    var status = stat()
    // Where a file system has no locks nobody gets one, and nothing is taken for an orphan.
    let isLocked = flock(descriptor, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK
    if isLocked, fstat(descriptor, &status) == 0, status.st_nlink > 0 { return true }
    unlink(temporary)
    close(descriptor)
    descriptor = -1
    return false
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
    // Before the lock goes: else the file could be taken for an orphan.
    guard rename(temporary, target) == 0 else { throw failure() }
    isCommitted = true
    // The new name is safe once the folder is on disk as well; some file systems cannot do that.
    let folder = open(target.splitAtLastSlash.folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    if folder >= 0 {
      fsync(folder)
      close(folder)
    }
  }

  /// Puts the complete file in the target's place and goes on; when that throws, what was there before is there again.
  public func commit(before next: () throws(CetError) -> Void) throws(CetError) {
    // Under a name that the next file for the target takes for an orphan's.
    let former = temporary.dropLast(PendingFile.suffix.count) + "-former" + PendingFile.suffix
    let isKept = link(target, String(former)) == 0
    let isNew = !isKept && access(target, F_OK) != 0
    defer { if isKept { unlink(String(former)) } }
    try commit()
    do {
      try next()
    } catch {
      if isKept { rename(String(former), target) } else if isNew { unlink(target) }
      throw error
    }
  }

  /// Appends bytes.
  public func writeAll(_ bytes: UnsafeRawBufferPointer) throws(CetError) {
    var rest = bytes
    while let start = rest.baseAddress, !rest.isEmpty {
      var written = 0
      let error = FileSizeLimit.heeded {
        written = Glibc.write(descriptor, start, min(rest.count, FileWatch.piece))
        return written < 0 ? errno : 0
      }
      if error == EINTR { continue }
      guard error == 0 else {
        errno = error
        throw failure()
      }
      try FileWatch.passed(written, .writing)
      rest = UnsafeRawBufferPointer(rebasing: rest[written...])
    }
  }

  private func failure() -> CetError { CetError(.io, "cannot write '\(target)': \(systemErrorText())") }
}

/// What killed processes left.
extension PendingFile {
  private static let suffix = ".tmp"

  /// File names have at most 255 bytes; long targets share the start of their names.
  private static func place(of target: String) -> (folder: String, prefix: String) {
    var (folder, name) = target.splitAtLastSlash
    while name.utf8.count > 200 { name.unicodeScalars.removeLast() }
    return (folder, ".\(name).cet-")
  }

  /// Removes temporary files of this target that nobody writes any more.
  public static func removeOrphans(of target: String) {
    let (folder, prefix) = place(of: target)
    for name in namesOfFiles(in: folder) where name.utf8.starts(with: prefix.utf8) && name.hasSuffix(suffix) {
      let path = "\(folder)/\(name)"
      // Some network file systems lock only what is open for writing.
      let descriptor = open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
      guard descriptor >= 0 else { continue }
      defer { close(descriptor) }
      var (status, named) = (stat(), stat())
      guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG, flock(descriptor, LOCK_EX | LOCK_NB) == 0,
        lstat(path, &named) == 0, FileIdentity(status) == FileIdentity(named)
      else { continue }
      unlink(path)
    }
  }
}
