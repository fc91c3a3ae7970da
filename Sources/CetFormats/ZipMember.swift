import CZlib
import CetTensor

/// The bytes of a member of an archive, stored or deflated, which zlib unpacks.
final class ZipMember: ByteSource {
  /// As the directory says; `finish` tells whether it does so rightly.
  let byteCount: Int
  private let file: ZipFile
  private var position: Int
  private let end: Int
  private let checksum: UInt
  private var found: UInt
  private var done = 0
  /// zlib's state points back to it, so that it has an address of its own. nil: stored.
  private var stream: UnsafeMutablePointer<z_stream>?
  /// Packed bytes on their way.
  private let piece: Storage
  private var hasEnded = false

  /// The file holds the packed bytes.
  init(_ file: ZipFile, at position: Int, packed: Int, unpacked: Int, checksum: UInt, isDeflated: Bool) throws(CetError) {
    (self.file, self.position, end) = (file, position, position + packed)
    (byteCount, self.checksum, found) = (unpacked, checksum, crc32(0, nil, 0))
    piece = try Storage(byteCount: isDeflated ? min(packed, 1 << 16) : 0)
    guard isDeflated else { return }
    let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
    stream.initialize(to: z_stream())
    // A negative number of bits: no header of zlib's stands in front.
    guard inflateInit2_(stream, -MAX_WBITS, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK else {
      stream.deallocate()
      throw CetError(.outOfMemory, "cannot be unpacked: not enough memory")
    }
    self.stream = stream
  }

  deinit {
    if let stream {
      inflateEnd(stream)
      stream.deallocate()
    }
  }

  func read(into buffer: UnsafeMutableRawBufferPointer) throws(CetError) {
    guard buffer.count <= byteCount - done else {
      throw CetError(.io, "ends too early: \(buffer.count) bytes expected, \(byteCount - done) found")
    }
    var filled = 0
    while filled < buffer.count {
      let end = min(filled + FileWatch.piece, buffer.count)
      try fill(UnsafeMutableRawBufferPointer(rebasing: buffer[filled..<end]), of: buffer.count, from: filled)
      filled = end
      // A few packed bytes can be many.
      try FileWatch.check()
    }
    done += buffer.count
  }

  /// Fills a piece of a buffer, and sums it up.
  private func fill(_ buffer: UnsafeMutableRawBufferPointer, of expected: Int, from first: Int) throws(CetError) {
    if let stream {
      var filled = 0
      while filled < buffer.count {
        let more = try unpack(stream, UnsafeMutableRawBufferPointer(rebasing: buffer[filled...]))
        guard more > 0 || !hasEnded else {
          throw CetError(.io, "ends too early: \(expected) bytes expected, \(first + filled) found")
        }
        filled += more
      }
    } else {
      try file.read(at: position, into: buffer)
      position += buffer.count
    }
    if let start = buffer.baseAddress {
      found = crc32(found, start.assumingMemoryBound(to: UInt8.self), UInt32(buffer.count))
    }
  }

  func finish() throws(CetError) {
    guard done == byteCount else { throw CetError(.io, "has more bytes than its shape needs") }
    if let stream {
      // The stream's end may not have been reached with its last byte.
      var byte: UInt8 = 0
      let more = try withUnsafeMutableBytes(of: &byte) { target throws(CetError) in
        var more = 0
        while more == 0, !hasEnded { more = try unpack(stream, target) }
        return more
      }
      guard more == 0 else { throw CetError(.io, "is damaged: it unpacks to more than the \(byteCount) bytes that the directory names") }
      let left = end - position + Int(stream.pointee.avail_in)
      guard left == 0 else { throw CetError(.io, "is damaged: \(left) packed bytes follow its end") }
    }
    guard found == checksum else { throw CetError(.io, "is damaged: its checksum is wrong") }
  }

  /// How many bytes came; none need come before the stream's end. The target is smaller than 4 GiB.
  private func unpack(_ stream: UnsafeMutablePointer<z_stream>, _ target: UnsafeMutableRawBufferPointer) throws(CetError) -> Int {
    if stream.pointee.avail_in == 0, position < end {
      let count = min(piece.byteCount, end - position)
      try file.read(at: position, into: UnsafeMutableRawBufferPointer(start: piece.pointer, count: count))
      position += count
      stream.pointee.next_in = piece.pointer.assumingMemoryBound(to: UInt8.self)
      stream.pointee.avail_in = UInt32(count)
    }
    stream.pointee.next_out = target.bindMemory(to: UInt8.self).baseAddress
    stream.pointee.avail_out = UInt32(target.count)
    switch inflate(stream, Z_NO_FLUSH) {
    case Z_OK: break
    case Z_STREAM_END: hasEnded = true
    // Nothing could be done: the packed bytes are used up.
    case Z_BUF_ERROR: throw CetError(.io, "ends too early: its packed bytes end before its stream")
    case Z_MEM_ERROR: throw CetError(.outOfMemory, "cannot be unpacked: not enough memory")
    default: throw CetError(.io, "is damaged: it cannot be unpacked")
    }
    return target.count - Int(stream.pointee.avail_out)
  }
}
