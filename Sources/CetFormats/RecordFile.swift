import CetTensor
import Glibc

/// The library's own binary files, little-endian: 8 bytes that say what it is, the header's length (uint64), the header
/// (a JSON object), the contents, and a checksum (uint64) of all sections. A file appears complete or not at all.
public enum RecordFile {
  /// Bytes of a header, whose values are made before anything is known of the file: what is long belongs to the contents.
  static let longestHeader = 1 << 25

  public final class Writer {
    private let file: PendingFile
    private var checksum = Checksum()
    private var buffer: [UInt8] = []

    public init(path: String, magic: String, header: JSON) throws(CetError) {
      file = try PendingFile(PendingFile.target(of: path))
      let text = Array(header.serialized(indented: false).utf8)
      guard text.count <= RecordFile.longestHeader else {
        throw CetError(.io, "'\(path)' would have a header of \(text.count) bytes, more than \(RecordFile.longestHeader)")
      }
      try add(Array(magic.utf8))
      try add([UInt64(text.count)])
      try add(text)
    }

    public func add<Value: BitwiseCopyable>(_ values: [Value]) throws(CetError) { try values.span.withUnsafeBytes(add) }

    public func add(_ bytes: UnsafeRawBufferPointer) throws(CetError) {
      for first in stride(from: 0, to: bytes.count, by: FileWatch.piece) {
        let piece = UnsafeRawBufferPointer(rebasing: bytes[first..<min(first + FileWatch.piece, bytes.count)])
        checksum.update(piece)
        if buffer.count + piece.count > 1 << 20 { try flush() }
        if piece.count > 1 << 19 { try file.writeAll(piece) } else { buffer += piece }
      }
    }

    private func flush() throws(CetError) {
      try buffer.withUnsafeBufferPointer { bytes throws(CetError) in try file.writeAll(UnsafeRawBufferPointer(bytes)) }
      buffer.removeAll(keepingCapacity: true)
    }

    public func finish() throws(CetError) {
      withUnsafeBytes(of: checksum.value) { buffer += $0 }
      try flush()
      try file.commit()
    }
  }

  public final class Reader {
    private let path: String
    private let what: String
    public let header: JSONFields
    private let file: UnsafeMutablePointer<FILE>
    private var checksum = Checksum()
    private var left: Int

    /// nil when there is no file.
    public static func open(path: String, magic: String, what: String) throws(CetError) -> Reader? {
      // Without O_NONBLOCK opening a pipe would wait for its other end.
      let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
      guard descriptor >= 0, let file = fdopen(descriptor, "rb") else {
        if errno == ENOENT { return nil }
        throw CetError(.io, "cannot read \(what) '\(path)': \(systemErrorText())")
      }
      do {
        return try Reader(path, file, magic, what)
      } catch {
        fclose(file)
        throw error
      }
    }

    private init(_ path: String, _ file: UnsafeMutablePointer<FILE>, _ magic: String, _ what: String) throws(CetError) {
      func failure(_ text: String) -> CetError { CetError(.io, "\(what) '\(path)' \(text)") }
      var status = stat()
      guard fstat(fileno(file), &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
        throw failure("is no regular file")
      }
      try FileWatch.expect(Int(status.st_size), .reading)
      var sum = Checksum()
      func take(_ count: Int) throws(CetError) -> [UInt8] {
        try SystemMemory.checkRoom(for: count)
        var bytes = [UInt8](repeating: 0, count: count)
        guard fread(&bytes, 1, count, file) == count else { throw failure("ends too early") }
        bytes.withUnsafeBytes { sum.update($0) }
        return bytes
      }
      guard Int(status.st_size) >= 24, try take(8) == Array(magic.utf8) else { throw failure("is no such file") }
      let length = try take(8).withUnsafeBytes { $0.load(as: UInt64.self) }
      guard length <= UInt64(status.st_size) - 24, length <= RecordFile.longestHeader else {
        throw failure("is damaged: the header is too long")
      }
      let text = try take(Int(length))
      do {
        header = JSONFields(try text.withUnsafeBytes { try JSON.parse($0) }, document: "header")
      } catch let error as CetError where error.code == .outOfMemory || error.code == .cancelled {
        throw error
      } catch { throw failure("is damaged: the header is no JSON") }
      self.path = path
      self.what = what
      self.file = file
      checksum = sum
      left = Int(status.st_size) - 24 - Int(length)
    }

    deinit { fclose(file) }

    /// What is to be said of an error of reading the header's values or the contents: that the file is damaged, unless memory is
    /// short, the host wants to stop, or the error says so itself.
    public func damage(_ error: CetError) -> CetError {
      switch error.code {
      case .io, .outOfMemory, .cancelled: error
      default: CetError(.io, "\(what) '\(path)' is damaged: \(error.message)")
      }
    }

    /// Bytes of the contents that are not read yet.
    public var remaining: Int { left }

    public func read(into buffer: UnsafeMutableRawBufferPointer) throws(CetError) {
      guard buffer.count <= left else { throw CetError(.io, "'\(path)' ends too early") }
      for first in stride(from: 0, to: buffer.count, by: FileWatch.piece) {
        let piece = UnsafeMutableRawBufferPointer(rebasing: buffer[first..<min(first + FileWatch.piece, buffer.count)])
        guard fread(piece.baseAddress, 1, piece.count, file) == piece.count else {
          throw CetError(.io, "'\(path)' ends too early")
        }
        checksum.update(UnsafeRawBufferPointer(piece))
        try FileWatch.passed(piece.count, .reading)
      }
      left -= buffer.count
    }

    public func array<Value: BitwiseCopyable>(_ zero: Value, count: Int) throws(CetError) -> [Value] {
      guard count >= 0, count <= left / MemoryLayout<Value>.stride else { throw CetError(.io, "'\(path)' ends too early") }
      try SystemMemory.checkRoom(for: count * MemoryLayout<Value>.stride)
      var values = [Value](repeating: zero, count: count)
      try values.withUnsafeMutableBufferPointer { target throws(CetError) in
        try read(into: UnsafeMutableRawBufferPointer(target))
      }
      return values
    }

    /// After the last of the contents.
    public func finish() throws(CetError) {
      var stored: UInt64 = 0
      let found = withUnsafeMutableBytes(of: &stored) { fread($0.baseAddress, 1, 8, file) }
      #if FUZZING
        // A fuzzer's inputs have no right checksum; what stands behind it is to be reached all the same (docs/fuzzing.md).
        stored = checksum.value
      #endif
      guard left == 0, found == 8, stored == checksum.value else {
        throw CetError(.io, "'\(path)' is damaged: the checksum does not agree")
      }
    }
  }
}
