import CetTensor
import Glibc
import Testing

@testable import CetFormats

/// A folder that goes when the test ends.
private final class TemporaryFolder {
  let path: String

  init() {
    var template = Array("/tmp/cet-formats-XXXXXX".utf8CString)
    path = template.withUnsafeMutableBufferPointer { buffer in
      guard let start = buffer.baseAddress, mkdtemp(start) != nil else { return "/nonexistent" }
      return String(cString: start)
    }
  }

  deinit {
    for name in names { unlink(path + "/" + name) }
    rmdir(path)
  }

  /// Hidden ones included, in order.
  var names: [String] {
    guard let folder = opendir(path) else { return [] }
    defer { closedir(folder) }
    var names: [String] = []
    while let entry = readdir(folder) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { raw in String(decoding: raw.prefix { $0 != 0 }, as: UTF8.self) }
      if name != ".", name != ".." { names.append(name) }
    }
    return names.sorted()
  }

  func bytes(_ name: String) -> [UInt8] {
    guard let file = fopen(path + "/" + name, "rb") else { return [] }
    defer { fclose(file) }
    var bytes = [UInt8](repeating: 0, count: 1 << 16)
    bytes.removeLast(bytes.count - fread(&bytes, 1, bytes.count, file))
    return bytes
  }

  func write(_ bytes: [UInt8], _ name: String) {
    guard let file = fopen(path + "/" + name, "wb") else { return }
    fwrite(bytes, 1, bytes.count, file)
    fclose(file)
  }
}

private func code(_ body: () throws -> Void) -> CetError.Code? {
  do {
    try body()
    return nil
  } catch { return (error as? CetError)?.code }
}

@Suite struct PendingFileTests {
  @Test func file_appearsCompleteOrNotAtAll() throws {
    let folder = TemporaryFolder()
    let path = folder.path + "/f"
    folder.write([1], "f")
    do {
      let file = try PendingFile(PendingFile.target(of: path))
      try ([7, 8] as [UInt8]).withUnsafeBytes(file.writeAll)
      #expect(folder.bytes("f") == [1] && folder.names.count == 2)
    }
    #expect(folder.names == ["f"] && folder.bytes("f") == [1])
    let file = try PendingFile(PendingFile.target(of: path))
    try ([7, 8] as [UInt8]).withUnsafeBytes(file.writeAll)
    try ([9] as [UInt8]).withUnsafeBytes(file.writeAll)
    try file.commit()
    #expect(folder.names == ["f"] && folder.bytes("f") == [7, 8, 9])
  }

  @Test func orphans_goWithTheNextFileOfTheirTarget() throws {
    let folder = TemporaryFolder()
    let path = folder.path + "/f"
    let held = try PendingFile(path)
    let name = try #require(folder.names.first)
    #expect(name.hasPrefix(".f.cet-\(getpid())-") && name.hasSuffix(".tmp"))
    for orphan in [".f.cet-1-0.tmp", ".f.data.cet-1-0.tmp", ".f.cet-1-0", "f.cet-1-0.tmp"] { folder.write([1], orphan) }
    try PendingFile(path).commit()
    #expect(folder.names == [".f.cet-1-0", name, ".f.data.cet-1-0.tmp", "f", "f.cet-1-0.tmp"].sorted())
    try held.commit()
    #expect(folder.names == [".f.cet-1-0", ".f.data.cet-1-0.tmp", "f", "f.cet-1-0.tmp"])
  }

  @Test func target_followsLinksAndRefusesFolders() throws {
    let folder = TemporaryFolder()
    folder.write([1], "f")
    #expect(symlink(folder.path + "/f", folder.path + "/link") == 0)
    #expect(try PendingFile.target(of: folder.path + "/link").hasSuffix("/f"))
    #expect(try PendingFile.target(of: folder.path + "/new") == folder.path + "/new")
    #expect(code { _ = try PendingFile.target(of: folder.path) } == .io)
    #expect(code { _ = try PendingFile.target(of: "") } == .invalidArgument)
    #expect(code { _ = try PendingFile(folder.path + "/nowhere/f") } == .io)
  }

  @Test func path_splitAtItsLastSlash() {
    let cases = [("a/b/c", "a/b", "c"), ("c", ".", "c"), ("/c", "/", "c"), ("a/", "a", ""), ("a/\u{301}b", "a", "\u{301}b")]
    for (path, folder, name) in cases {
      #expect(path.splitAtLastSlash.folder == folder && path.splitAtLastSlash.name == name, "\(path)")
    }
    #expect(resolvedPath("/nonexistent") == nil && resolvedPath("/./tmp/..") == "/")
  }
}

@Suite struct SteadyFileTests {
  private func contents(_ file: SteadyFile) throws -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: file.byteCount)
    try bytes.withUnsafeMutableBytes { buffer in try file.read(at: 0, into: buffer) }
    return bytes
  }

  @Test func file_thatChangedSinceItWasOpened_isRefused() throws {
    let folder = TemporaryFolder()
    let path = folder.path + "/f"
    let changes: [(String, () -> Void)] = [
      ("from 4 to 3 bytes", { truncate(path, 3) }), ("from 4 to 5 bytes", { folder.write([1, 2, 3, 4, 5], "f") }),
      ("replaced by another", {
        folder.write([1, 2, 3, 4], "g")
        rename(folder.path + "/g", path)
      }),
      ("cannot open test file", { unlink(path) }),
    ]
    for (text, change) in changes {
      folder.write([1, 2, 3, 4], "f")
      let file = try SteadyFile(path: path, what: "test file")
      #expect(try contents(file) == [1, 2, 3, 4])
      change()
      do {
        _ = try contents(file)
        Issue.record("\(text): nothing was thrown")
      } catch { #expect((error as? CetError)?.code == .io && (error as? CetError)?.message.contains(text) == true) }
    }
  }

  @Test func parts_ofTwoStates_areRefused() throws {
    let folder = TemporaryFolder()
    folder.write([1, 2, 3, 4], "f")
    let file = try SteadyFile(path: folder.path + "/f", what: "test file")
    let (first, second): ([UInt8], [UInt8]) = ([1, 2], [3, 9])
    try first.withUnsafeBytes { a in
      try second.withUnsafeBytes { b in
        try file.check([(0, a), (0, a)])
        #expect(code { try file.check([(0, a), (2, b)]) } == .io)
      }
    }
  }
}

@Suite struct RecordFileTests {
  private static let header = JSON.object([.init("count", .integer(3))])

  private func write(_ folder: TemporaryFolder, large: Int = 0) throws {
    let file = try RecordFile.Writer(path: folder.path + "/r", magic: "CETTEST1", header: Self.header)
    try file.add([1.5, -2, 3] as [Double])
    try file.add([UInt8](repeating: 7, count: large))
    try file.finish()
  }

  private func open(_ folder: TemporaryFolder, _ name: String = "r") throws -> RecordFile.Reader? {
    try RecordFile.Reader.open(path: folder.path + "/" + name, magic: "CETTEST1", what: "test file")
  }

  @Test func contents_comeBack() throws {
    let folder = TemporaryFolder()
    // More than the writer's buffer.
    try write(folder, large: 1 << 21)
    let file = try #require(try open(folder))
    #expect(try file.header.required("count").integer(0...9) == 3)
    #expect(file.remaining == 24 + 1 << 21)
    #expect(try file.array(0.0, count: 3) == [1.5, -2, 3])
    #expect(try file.array(UInt8(0), count: 1 << 21).allSatisfy { $0 == 7 })
    #expect(file.remaining == 0)
    try file.finish()
  }

  @Test func layout_isMagicLengthHeaderContentsChecksum() throws {
    let folder = TemporaryFolder()
    try write(folder)
    let bytes = folder.bytes("r")
    let header = Array(#"{"count":3}"#.utf8)
    #expect(bytes.count == 8 + 8 + header.count + 24 + 8)
    #expect(bytes.starts(with: Array("CETTEST1".utf8) + [UInt8(header.count), 0, 0, 0, 0, 0, 0, 0] + header))
  }

  @Test func anyChangedByte_isFound() throws {
    let folder = TemporaryFolder()
    try write(folder)
    let bytes = folder.bytes("r")
    for index in bytes.indices {
      var damaged = bytes
      damaged[index] ^= 0x10
      folder.write(damaged, "d")
      #expect(throws: CetError.self, "byte \(index)") {
        guard let file = try open(folder, "d") else { return }
        _ = try file.array(0.0, count: 3)
        try file.finish()
      }
    }
  }

  @Test func missingShortAndForeignFiles_areToldApart() throws {
    let folder = TemporaryFolder()
    #expect(try open(folder) == nil)
    try write(folder)
    let bytes = folder.bytes("r")
    for count in [0, 8, 23, 30, bytes.count - 1] {
      folder.write(Array(bytes.prefix(count)), "s")
      #expect(
        code {
          let file = try open(folder, "s")
          _ = try file?.array(0.0, count: 3)
          try file?.finish()
        } == .io, "\(count) bytes")
    }
    let file = try #require(try open(folder))
    #expect(code { _ = try file.array(0.0, count: 4) } == .io)
    #expect(code { _ = try RecordFile.Reader.open(path: folder.path, magic: "CETTEST1", what: "test file") } == .io)
  }
}

@Suite struct ChecksumTests {
  private func value(_ stretches: [[UInt8]], seed: UInt64 = 0) -> UInt64 {
    var sum = Checksum(seed: seed)
    for bytes in stretches { bytes.withUnsafeBytes { sum.update($0) } }
    return sum.value
  }

  @Test func checksum_tellsStretchesLengthsAndSeedsApart() {
    let all = [value([[]]), value([[0]]), value([[0, 0]]), value([[0], [0]]), value([[1, 2], [3]]), value([[1], [2, 3]]), value([[0]], seed: 1)]
    #expect(Set(all).count == all.count)
    #expect(value([[1, 2, 3]]) == value([[1, 2, 3]]))
  }

  @Test func text_countsAsItsBytes() {
    var sum = Checksum()
    sum.update("Aé")
    #expect(sum.value == value([[0x41, 0xC3, 0xA9]]))
  }

  @Test func hexadecimal_hasSixteenDigits() {
    #expect(Checksum.hexadecimal(0) == "0000000000000000")
    #expect(Checksum.hexadecimal(0xAB0C) == "000000000000ab0c")
    #expect(Checksum.hexadecimal(.max) == "ffffffffffffffff")
  }
}
