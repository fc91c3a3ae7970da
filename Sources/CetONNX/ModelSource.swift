import CetFormats
import CetTensor

/// Where the bytes of a model, or of a file of external data, come from.
public protocol ModelSource: AnyObject {
  var byteCount: Int { get }
  /// The bytes where they are, when they stay there, as they are, as long as the source lives; nil: they are copied by `read`.
  var borrowed: UnsafeRawBufferPointer? { get }
  /// The file that is read, if it is one.
  var mark: FileMark? { get }
  /// Fills the buffer with the bytes from `offset` on, all of which are there as `byteCount` says.
  func read(at offset: Int, into buffer: UnsafeMutableRawBufferPointer) throws(CetError)
  /// Called after the last read; throws unless all parts are of one state of the source.
  func check(_ parts: [(offset: Int, bytes: UnsafeRawBufferPointer)]) throws(CetError)
}

extension ModelSource {
  public var mark: FileMark? { nil }
  public func check(_ parts: [(offset: Int, bytes: UnsafeRawBufferPointer)]) throws(CetError) {}
}

/// A file; copied, because a mapping of what others cut or write to ends the process, or shows other weights.
final class FileSource: ModelSource {
  private let file: SteadyFile
  init(path: String, what: String) throws(CetError) { file = try SteadyFile(path: path, what: what) }

  var byteCount: Int { file.byteCount }
  var borrowed: UnsafeRawBufferPointer? { nil }
  var mark: FileMark? { file.mark }
  func read(at offset: Int, into buffer: UnsafeMutableRawBufferPointer) throws(CetError) {
    try file.read(at: offset, into: buffer)
  }
  func check(_ parts: [(offset: Int, bytes: UnsafeRawBufferPointer)]) throws(CetError) { try file.check(parts) }
}

/// Bytes that a caller has in memory during the call.
final class MemorySource: ModelSource {
  private let bytes: UnsafeRawBufferPointer
  init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  var byteCount: Int { bytes.count }
  var borrowed: UnsafeRawBufferPointer? { nil }
  func read(at offset: Int, into buffer: UnsafeMutableRawBufferPointer) {
    buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + buffer.count]))
  }
}

/// Read-only bytes that stay in place, and as they are, as long as the object lives.
final class HeldBytes: @unchecked Sendable {
  let base: UnsafeRawPointer
  let byteCount: Int
  private let keeper: AnyObject

  var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: byteCount) }

  /// A part of a source, which must be within it.
  init(_ range: Range<Int>, of source: ModelSource) throws(CetError) {
    byteCount = range.count
    if let bytes = source.borrowed, let start = bytes.baseAddress {
      base = start + range.lowerBound
      keeper = source
      return
    }
    // A file can be a hole, and a host can say any size: what is not there would be taken from other processes.
    if byteCount > 1 << 24, let available = SystemMemory.availableBytes, byteCount > available {
      throw CetError(.outOfMemory, "needs \(byteCount) bytes for the model's data, \(available) are available")
    }
    let storage = try Storage(byteCount: byteCount)
    try source.read(at: range.lowerBound, into: UnsafeMutableRawBufferPointer(start: storage.pointer, count: byteCount))
    base = UnsafeRawPointer(storage.pointer)
    keeper = storage
  }

  /// The part of the bytes that `range` names; the caller got the range from a reader over them.
  func slice(_ range: Range<Int>) -> UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: bytes[range]) }
}
