import CetTensor
import Glibc

/// The bytes of an archive. Its descriptor stays open, so that a file that is removed or that another is renamed over is read to
/// its end as it was; one that others write to is found out by the archive's checksums.
final class ZipFile {
  let byteCount: Int
  private let descriptor: Int32

  init(path: String) throws(CetError) {
    // Without O_NONBLOCK opening a pipe would wait for its other end.
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { throw CetError(.io, "cannot be opened: \(systemErrorText())") }
    var status = stat()
    guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
      close(descriptor)
      throw CetError(.io, "cannot be read: expected a regular file")
    }
    self.descriptor = descriptor
    byteCount = Int(status.st_size)
    try FileWatch.expect(byteCount, .reading)
  }

  deinit { close(descriptor) }

  /// Whether that many bytes from there on are in the file.
  func holds(_ count: Int, at position: Int) -> Bool {
    count <= byteCount && (0...byteCount - count).contains(position)
  }

  /// Fills the buffer with bytes that the file holds.
  func read(at position: Int, into buffer: UnsafeMutableRawBufferPointer) throws(CetError) {
    var done = 0
    while done < buffer.count, let start = buffer.baseAddress {
      let found = pread(descriptor, start + done, min(buffer.count - done, FileWatch.piece), position + done)
      if found < 0 {
        if errno == EINTR { continue }
        throw CetError(.io, "cannot be read: \(systemErrorText())")
      }
      guard found > 0 else { throw CetError(.io, "cannot be read: the file was cut to \(position + done) of \(byteCount) bytes") }
      done += found
      try FileWatch.passed(found, .reading)
    }
  }

  /// nil where the file does not hold them.
  func fields(at position: Int, _ count: Int) throws(CetError) -> ZipFields? {
    guard holds(count, at: position) else { return nil }
    var bytes = [UInt8](repeating: 0, count: count)
    try bytes.withUnsafeMutableBufferPointer { target throws(CetError) in
      try read(at: position, into: UnsafeMutableRawBufferPointer(target))
    }
    return ZipFields(bytes: bytes)
  }
}

/// Bytes of headers, whose numbers have their lowest byte first.
struct ZipFields {
  let bytes: [UInt8]

  /// The four bytes that start a header: "PK" and two more.
  func isMarked(_ first: UInt8, _ second: UInt8) -> Bool { bytes.starts(with: [0x50, 0x4B, first, second]) }

  func two(_ offset: Int) -> Int { Int(number(offset, 2)) }
  func four(_ offset: Int) -> Int { Int(number(offset, 4)) }
  /// A number beyond the largest is that one: no file has as many bytes.
  func eight(_ offset: Int) -> Int { Int(clamping: number(offset, 8)) }

  private func number(_ offset: Int, _ count: Int) -> UInt64 {
    bytes[offset..<offset + count].reversed().reduce(0) { $0 << 8 | UInt64($1) }
  }
}
