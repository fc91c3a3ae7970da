import CetTensor
import Glibc
import Testing

@testable import CetFormats

private let fixtures: String = {
  let parts = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(2)
  return parts.joined(separator: "/") + "/Fixtures"
}()

/// A .npy file in memory.
private final class MemorySource: ByteSource {
  let bytes: [UInt8]
  var position = 0
  var byteCount: Int { bytes.count }
  init(_ bytes: [UInt8]) { self.bytes = bytes }
  func read(into buffer: UnsafeMutableRawBufferPointer) throws(CetError) {
    guard position + buffer.count <= bytes.count else { throw CetError(.io, "ends too early") }
    buffer.copyBytes(from: bytes[position..<position + buffer.count])
    position += buffer.count
  }
  func finish() throws(CetError) { if position != bytes.count { throw CetError(.io, "has more bytes than its shape needs") } }
}

@Suite struct NPZTests {
  private func npy(_ header: String, data: [UInt8] = [], version: UInt8 = 1) -> [UInt8] {
    var bytes: [UInt8] = [0x93] + Array("NUMPY".utf8) + [version, 0]
    let count = header.utf8.count
    bytes += [UInt8(count & 255), UInt8(count >> 8)] + (version > 1 ? [0, 0] : [])
    return bytes + Array(header.utf8) + data
  }

  private func failure(_ bytes: [UInt8]) -> String {
    do {
      _ = try NPY.read(MemorySource(bytes))
      return "accepted"
    } catch {
      return error.message
    }
  }

  @Test(arguments: ["types.npz", "types_compressed.npz"])
  func archive_everyType_readsAsNumPyWrote(_ file: String) throws {
    let found = try NamedArrays(path: "\(fixtures)/npz/\(file)")
    #expect(found.unusable.isEmpty)
    let arrays = Dictionary(uniqueKeysWithValues: found.arrays.map { ($0.name, $0.tensor) })
    func expectCount<Element: TensorElement & BinaryFloatingPoint>(_ name: String, _: Element.Type) throws {
      #expect(try arrays[name]?.array(as: Element.self) == (0..<6).map { Element($0) }, "\(name)")
    }
    func expectCount<Element: TensorElement & BinaryInteger>(_ name: String, _: Element.Type) throws {
      #expect(try arrays[name]?.array(as: Element.self) == (0..<6).map { Element($0) }, "\(name)")
    }
    try expectCount("f2", Float.self)
    try expectCount("f4", Float.self)
    try expectCount("f8", Double.self)
    try expectCount("i1", Int8.self)
    try expectCount("u1", UInt8.self)
    try expectCount("i2", Int16.self)
    try expectCount("u2", UInt16.self)
    try expectCount("i4", Int32.self)
    try expectCount("u4", UInt32.self)
    try expectCount("i8", Int64.self)
    try expectCount("u8", UInt64.self)
    #expect(try arrays["b1"]?.array(as: Bool.self) == [true, false, true, false, true, false])
    let cube = (0..<24).map(Float.init)
    for name in ["fortran", "version2", "version3"] {
      #expect(arrays[name]?.shape == [2, 3, 4])
      #expect(try arrays[name]?.array(as: Float.self) == cube, "\(name)")
    }
    #expect(try arrays["fortran_i8"]?.array(as: Int64.self) == (0..<24).map(Int64.init))
    #expect(arrays["scalar"]?.shape == [])
    #expect(arrays["empty"]?.shape == [0, 3])
    let extremes = try #require(try arrays["extremes"]?.array(as: Float.self))
    #expect(extremes[0] == 65504 && extremes[1] == 0x1p-24 && extremes[2].sign == .minus)
    #expect(extremes[3] == .infinity && extremes[4].isNaN)
  }

  @Test func archive_unsupportedArrays_areSetAsideWithTheReason() throws {
    let found = try NamedArrays(path: "\(fixtures)/npz/mixed.npz")
    #expect(found.arrays.map(\.name) == ["input", "labels", "score"])
    #expect(found.unusable["objects"]?.message.contains("Python objects") == true)
    #expect(found.unusable["words"]?.message.contains("'<U2'") == true)
    #expect(found.unusable["big_endian"]?.message.contains(".astype('<f4')") == true)
    #expect(found.unusable["records"]?.message.contains("records") == true)
    #expect(found.unusable["complex"] != nil)
  }

  @Test func folder_readsEveryNpyByName() throws {
    let found = try NamedArrays(path: "\(fixtures)/npz/folder")
    #expect(found.arrays.map(\.name) == ["input", "labels"])
  }

  @Test func path_thatIsNoArchive_isRefused() {
    for path in ["\(fixtures)/npz/none.npz", "\(fixtures)/npz/make.py", "\(fixtures)"] {
      #expect(throws: CetError.self) { try NamedArrays(path: path) }
    }
  }

  @Test func header_damaged_isRefused() {
    let good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }"
    let data = [UInt8](repeating: 0, count: 8)
    #expect(failure(npy(good, data: data)) == "accepted")
    #expect(failure(npy(good, data: data, version: 2)) == "accepted")
    #expect(failure(npy(good, data: data, version: 4)).contains("version 4"))
    #expect(failure(npy(good, data: data + [0])).contains("more bytes"))
    #expect(failure(npy(good, data: Array(data.dropLast()))) != "accepted")
    #expect(failure(Array("no".utf8)).contains("too early"))
    for header in [
      "", "{", "{}", "{'descr': '<f4'}", "{'descr': '<f4', 'fortran_order': Maybe, 'shape': (2,)}",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (2", "{'descr': '<f4', 'fortran_order': False, 'shape': (-2,)}",
      "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", "{'descr': '<f4', 'x': 1}",
    ] { #expect(failure(npy(header, data: data)).contains("damaged"), "\(header)") }
    let huge = "{'descr': '<f8', 'fortran_order': True, 'shape': (4611686018427387904, 4611686018427387904)}"
    #expect(failure(npy(huge, data: data)).contains("too large"))
    #expect(failure(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000,)}", data: data)).contains("needs"))
  }

  @Test func archive_cutOrChanged_neverTraps() throws {
    let path = "\(fixtures)/npz/types_compressed.npz"
    let file = try #require(fopen(path, "rb"))
    var bytes = [UInt8](repeating: 0, count: 1 << 16)
    bytes.removeLast(bytes.count - fread(&bytes, 1, bytes.count, file))
    fclose(file)
    let temporary = "/tmp/cet-npz-\(getpid()).npz"
    defer { unlink(temporary) }
    var random = Random(seed: 3)
    for round in 0..<300 {
      var damaged = bytes
      if round % 3 == 0 { damaged.removeLast(Int(random.next() % UInt64(bytes.count))) }
      for _ in 0..<(round % 3) where !damaged.isEmpty {
        damaged[Int(random.next() % UInt64(damaged.count))] = UInt8(truncatingIfNeeded: random.next())
      }
      let out = try #require(fopen(temporary, "wb"))
      fwrite(damaged, 1, damaged.count, out)
      fclose(out)
      _ = try? NamedArrays(path: temporary)
    }
  }
}
