import CetTensor
import Glibc

/// What a vector of the basis is stored as.
public enum BasisType: String, Sendable, CaseIterable {
  case float32
  /// Half the memory; a vector is stored to 3 decimal digits.
  case bfloat16

  public var byteCount: Int { self == .float32 ? 4 : 2 }
}

/// One large block: anonymous memory, or an unlinked file of a folder, which the system pages in and out and which
/// goes with the process whatever happens to it.
final class BasisMemory: @unchecked Sendable {
  let pointer: UnsafeMutableRawPointer
  private(set) var byteCount: Int
  private var mapped: Int
  private let descriptor: Int32

  /// - Parameter folder: nil for memory.
  init(byteCount: Int, folder: String?) throws(CetError) {
    self.byteCount = byteCount
    mapped = max(byteCount, 1)
    descriptor = if let folder { try BasisMemory.file(in: folder, byteCount: max(byteCount, 1)) } else { -1 }
    let flags = folder == nil ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED
    let result = mmap(nil, mapped, PROT_READ | PROT_WRITE, flags, descriptor, 0)
    guard let result, result != MAP_FAILED else {
      let reason = systemText()
      if descriptor >= 0 { close(descriptor) }
      throw CetError(.outOfMemory, "cannot map \(byteCount) bytes for the basis: \(reason)")
    }
    pointer = result
  }

  deinit {
    munmap(pointer, mapped)
    if descriptor >= 0 { close(descriptor) }
  }

  /// Gives back what lies behind the first `count` bytes.
  func truncate(to count: Int) {
    let page = Int(sysconf(Int32(_SC_PAGESIZE)))
    let kept = max((count + page - 1) / page, 1) * page
    guard count < byteCount, kept < mapped else { return }
    munmap(pointer + kept, mapped - kept)
    mapped = kept
    byteCount = count
    if descriptor >= 0 { _ = ftruncate(descriptor, kept) }
  }

  /// A file without a name whose blocks are all reserved: a write to the mapping cannot fail later.
  private static func file(in folder: String, byteCount: Int) throws(CetError) -> Int32 {
    var descriptor = open(folder, O_RDWR | oTemporaryFile | O_CLOEXEC, 0o600)
    if descriptor < 0, errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL {
      // A file system without nameless files.
      var template = Array("\(folder)/.cet-basis-XXXXXX".utf8CString)
      descriptor = mkstemp(&template)
      if descriptor >= 0 { unlink(&template) }
    }
    guard descriptor >= 0 else {
      throw CetError(.io, "cannot make a basis file in '\(folder)': \(systemText())")
    }
    let code = FileSizeLimit.heeded { posix_fallocate(descriptor, 0, byteCount) }
    guard code == 0 else {
      close(descriptor)
      throw CetError(.io, "cannot reserve \(byteCount) bytes for a basis file in '\(folder)': \(systemText(code))")
    }
    return descriptor
  }

  /// O_TMPFILE, which is no simple constant of the C header.
  private static let oTemporaryFile: Int32 = 0o20000000 | O_DIRECTORY
}

func systemText(_ code: Int32 = errno) -> String { strerror(code).map { String(cString: $0) } ?? "error \(code)" }
