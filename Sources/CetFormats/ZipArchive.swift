import CetTensor

/// A zip archive, read a member at a time in the order of its directory. What it says of itself is believed no further than
/// the bytes agree. Messages are put behind the archive's path, or behind the member's name.
final class ZipArchive {
  private let file: ZipFile
  private let directory: Directory
  private var index = 0
  /// Where the directory's next entry starts.
  private var position: Int

  private static let countLimit = 1 << 16

  init(path: String) throws(CetError) {
    file = try ZipFile(path: path)
    guard let directory = try Directory.find(in: file) else {
      throw CetError(.io, "cannot be read as .npz: expected a zip archive, got no directory of one at its end")
    }
    guard directory.count <= ZipArchive.countLimit else {
      throw CetError(.io, "has \(directory.count) members, the limit is \(ZipArchive.countLimit)")
    }
    self.directory = directory
    position = directory.start
  }

  /// nil after the last.
  func next() throws(CetError) -> ZipEntry? {
    guard index < directory.count else {
      guard position == directory.end else { throw damaged("\(index) members expected, more bytes found") }
      return nil
    }
    guard position <= directory.end - ZipEntry.byteCount, let fields = try file.fields(at: position, ZipEntry.byteCount), fields.isMarked(1, 2)
    else { throw damaged("\(directory.count) members expected, \(index) found") }
    let (name, extra, comment) = (fields.two(28), fields.two(30), fields.two(32))
    let bytes = ZipEntry.byteCount + name + extra + comment
    guard bytes <= directory.end - position, let tail = try file.fields(at: position + ZipEntry.byteCount, name + extra) else {
      throw damaged("the entry of member \(index + 1) has \(bytes) bytes, fewer follow")
    }
    index += 1
    position += bytes
    return ZipEntry(fields, name: Array(tail.bytes[..<name]), extra: ZipFields(bytes: Array(tail.bytes[name...])))
  }

  private func damaged(_ how: String) -> CetError { CetError(.io, "has a damaged directory: \(how)") }

  /// The bytes of a member.
  func open(_ entry: ZipEntry) throws(CetError) -> ByteSource {
    let start = directory.front &+ entry.place
    guard let header = try file.fields(at: start, 30), header.isMarked(3, 4),
      let name = try file.fields(at: start + 30, header.two(26)), name.bytes == entry.name,
      header.two(8) == entry.method, entry.agrees(header)
    else { throw CetError(.io, "is damaged: its header is missing, or disagrees with the archive's directory") }
    // By a password, by a certificate, with hidden headers.
    guard (entry.flags | header.two(6)) & 0x2041 == 0 else { throw CetError(.io, "is encrypted") }
    guard entry.method == 0 || entry.method == 8 else {
      throw CetError(.io, "is packed by method \(entry.method), expected 0 (stored) or 8 (deflated)")
    }
    let data = start + 30 + header.two(26) &+ header.two(28)
    // Deflate packs 258 bytes into two bits at best.
    guard file.holds(entry.packed, at: data),
      entry.method == 0 ? entry.unpacked == entry.packed : entry.unpacked / 1032 <= entry.packed
    else {
      throw CetError(.io, "is damaged: \(entry.unpacked) bytes cannot be packed in \(entry.packed) of an archive of \(file.byteCount)")
    }
    return try ZipMember(
      file, at: data, packed: entry.packed, unpacked: entry.unpacked, checksum: UInt(entry.checksum), isDeflated: entry.method == 8)
  }
}

/// Where the entries of the members are.
private struct Directory {
  let count: Int
  let start: Int
  let end: Int
  /// Bytes before the archive, which places in it do not count.
  let front: Int

  private static let endBytes = 22

  /// By the last end of a directory in the file that one stands before: a comment may hold what looks like an end.
  static func find(in file: ZipFile) throws(CetError) -> Directory? {
    let count = min(file.byteCount, endBytes + 0xFFFF)
    guard count >= endBytes, let tail = try file.fields(at: file.byteCount - count, count) else { return nil }
    for offset in stride(from: count - endBytes, through: 0, by: -1) where tail.bytes[offset] == 0x50 {
      let end = ZipFields(bytes: Array(tail.bytes[offset..<offset + endBytes]))
      guard end.isMarked(5, 6), end.two(20) <= count - offset - endBytes else { continue }
      if let found = try Directory(file, end, at: file.byteCount - count + offset) { return found }
    }
    return nil
  }

  private init?(_ file: ZipFile, _ last: ZipFields, at position: Int) throws(CetError) {
    var (disks, counts) = ([last.two(4), last.two(6)], [last.two(8), last.two(10)])
    var (bytes, place, end) = (last.four(12), last.four(16), position)
    if let locator = try file.fields(at: position - 20, 20), locator.isMarked(6, 7) {
      // The place that the locator names does not count bytes before the archive.
      var isFound = false
      for at in [position - 76, locator.eight(8)] where !isFound {
        guard let wide = try file.fields(at: at, 56), wide.isMarked(6, 6) else { continue }
        (disks, counts) = ([wide.four(16), wide.four(20)], [wide.eight(24), wide.eight(32)])
        (bytes, place, end) = (wide.eight(40), wide.eight(48), at)
        isFound = true
      }
      guard isFound else { return nil }
    }
    guard disks == [0, 0], counts[0] == counts[1], bytes <= end, place <= end - bytes else { return nil }
    (count, start, self.end, front) = (counts[0], end - bytes, end, end - bytes - place)
    guard count > 0 else { return }
    guard let first = try file.fields(at: start, 4), first.isMarked(1, 2) else { return nil }
  }
}

/// What the directory says of a member.
struct ZipEntry {
  fileprivate let name: [UInt8]
  fileprivate let flags: Int
  fileprivate let method: Int
  fileprivate let checksum: Int
  fileprivate var packed: Int
  fileprivate var unpacked: Int
  fileprivate var place: Int

  /// Without name, extra fields and comment.
  fileprivate static let byteCount = 46
  /// Stands in 32 bits for a number that the extra fields have in 64.
  private static let elsewhere = 0xFFFF_FFFF

  fileprivate init(_ fields: ZipFields, name: [UInt8], extra: ZipFields) {
    self.name = name
    (flags, method, checksum) = (fields.two(8), fields.two(10), fields.four(16))
    (packed, unpacked, place) = (fields.four(20), fields.four(24), fields.four(42))
    var position = 0
    while position + 4 <= extra.bytes.count {
      let end = position + 4 + extra.two(position + 2)
      guard end <= extra.bytes.count else { return }
      if extra.two(position) == 1 {
        var next = position + 4
        // In this order, those alone that are elsewhere.
        for number in [\ZipEntry.unpacked, \.packed, \.place] where self[keyPath: number] == ZipEntry.elsewhere && next + 8 <= end {
          self[keyPath: number] = extra.eight(next)
          next += 8
        }
        return
      }
      position = end
    }
  }

  /// Whether a member's own header says the same, as far as it does: writers to a pipe give checksum and sizes after the bytes.
  fileprivate func agrees(_ header: ZipFields) -> Bool {
    guard header.two(6) & 8 == 0 else { return true }
    return header.four(14) == checksum && [packed, ZipEntry.elsewhere].contains(header.four(18))
      && [unpacked, ZipEntry.elsewhere].contains(header.four(22))
  }

  /// The characters of bytes above 127 in names that are no UTF-8: code page 437.
  private static let others = Array(
    ("ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀"
      + "αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{A0}").unicodeScalars)

  /// The name, or what stands before its first NUL, as other readers take it.
  var text: String {
    let bytes = name.prefix { $0 != 0 }
    if let text = String(validating: bytes, as: UTF8.self) { return text }
    return String(String.UnicodeScalarView(bytes.map { $0 < 128 ? Unicode.Scalar($0) : ZipEntry.others[Int($0) - 128] }))
  }
}
