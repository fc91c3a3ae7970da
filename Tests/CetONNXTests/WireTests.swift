import CetTensor
import Testing

@testable import CetONNX

struct WireTests {
  private func read<Result>(_ bytes: [UInt8], _ body: (inout WireReader) throws -> Result) throws -> Result {
    try bytes.withUnsafeBytes { memory in
      var reader = WireReader(try #require(memory.baseAddress), 0..<memory.count)
      return try body(&reader)
    }
  }

  private func readAll(_ bytes: [UInt8]) throws {
    try read(bytes) { reader in while let field = try reader.next() { try reader.skip(field) } }
  }

  @Test(arguments: [0, 1, 127, 128, 300, 1 << 32, UInt64.max])
  func varint_everyLength_roundTrips(value: UInt64) throws {
    var writer = WireWriter()
    writer.append(varint: value)
    #expect(try read(Array(writer)) { try $0.varint() } == value)
  }

  @Test func varint_moreThanTenBytes_isAnErrorAndBitsBeyond64DoNotCount() throws {
    let tooLong = [UInt8](repeating: 0xFF, count: 10) + [1]
    #expect(errorOf { try read(tooLong) { try $0.varint() } }.message == "byte 0: a varint is longer than 10 bytes")
    let overflow = [UInt8](repeating: 0xFF, count: 9) + [0x7F]
    #expect(try read(overflow) { try $0.varint() } == .max)
  }

  @Test func varint_cutOff_isAnError() {
    #expect(errorOf { try read([0x80]) { try $0.varint() } }.message.contains("passes the end"))
  }

  @Test func field_lengthPastTheEnd_isAnError() {
    let message = errorOf { try readAll([0x0A, 5, 1, 2]) }.message
    #expect(message == "byte 0: field 1 has 5 bytes, its message only 2 more")
    let huge: [UInt8] = [0x0A] + [UInt8](repeating: 0xFF, count: 9) + [1]
    #expect(errorOf { try readAll(huge) }.code == .invalidModel)
  }

  @Test(arguments: [6, 7] as [UInt8])
  func tag_unknownWireType_isAnError(type: UInt8) {
    #expect(errorOf { try readAll([8 | type, 0]) }.message.contains("wire type"))
  }

  @Test func group_isPassedOverAndMustEnd() throws {
    try readAll([11, 16, 1, 19, 20, 12, 24, 7])  // a group within a group, then field 3
    #expect(errorOf { try readAll([11, 16, 1]) }.message == "byte 0: group 1 does not end")
    #expect(errorOf { try readAll([12]) }.message.contains("did not begin"))
    #expect(errorOf { try readAll([11, 20]) }.message.contains("did not begin"))
    let deep = [UInt8](repeating: 11, count: 101) + [UInt8](repeating: 12, count: 101)
    #expect(errorOf { try readAll(deep) }.message.contains("nest deeper"))
    try readAll(Array(deep[1..<201]))
  }

  @Test func field_inAnotherEncoding_isUnknown() throws {
    try [UInt8]([0x12, 1, 97, 0x10, 5]).withUnsafeBytes { memory in  // producer_name as text, then as a number
      var reader = WireReader(try #require(memory.baseAddress), 0..<memory.count, .model)
      var numbers: [Int] = []
      while let field = try reader.next() {
        numbers.append(field.number)
        try reader.skip(field)
      }
      #expect(numbers == [2, 0])
    }
  }

  @Test func tagAndLength_haveFiveBytesAtMost() throws {
    try readAll([0x88, 0x80, 0x80, 0x80, 0, 1])
    #expect(errorOf { try readAll([0x88, 0x80, 0x80, 0x80, 0x80, 0, 1]) }.message.contains("longer than 5 bytes"))
    #expect(errorOf { try readAll([10, 0x81, 0x80, 0x80, 0x80, 0x80, 0, 1]) }.message.contains("longer than 5 bytes"))
  }

  @Test func tag_fieldZeroOrTooLarge_isAnError() {
    #expect(errorOf { try readAll([0, 1]) }.message.contains("not a protobuf tag"))
    #expect(errorOf { try readAll([0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1]) }.message.contains("longer than 5 bytes"))
  }

  @Test func integer_ofBytesField_isAnError() {
    let error = errorOf {
      try read([0x0A, 0]) { reader in
        let field = try #require(try reader.next())
        return try reader.integer(field)
      }
    }
    #expect(error.message == "byte 0: expected wire type 0 for field 1, got 2")
  }

  @Test func integers_packedAndNot_readTheSame() throws {
    let values: [Int64] = [0, -1, 300, .max, .min]
    var packed = WireWriter()
    packed.packedIntegers(1, values)
    var single = WireWriter()
    for value in values { single.integer(1, value) }
    for bytes in [Array(packed), Array(single)] {
      let result = try read(bytes) { reader in
        var result: [Int64] = []
        while let field = try reader.next() { try reader.appendIntegers(field, to: &result) }
        return result
      }
      #expect(result == values)
    }
  }

  @Test func floats_packedAndNot_readTheSame() throws {
    let values: [Float] = [0, -1.5, .infinity]
    var packed = WireWriter()
    packed.packedFloats(1, values)
    var single = WireWriter()
    for value in values { single.float(1, value) }
    for bytes in [Array(packed), Array(single)] {
      let result = try read(bytes) { reader in
        var result: [Float] = []
        while let field = try reader.next() { try reader.appendFloats(field, to: &result) }
        return result
      }
      #expect(result == values)
    }
    #expect(
      errorOf {
        try read([0x0A, 3, 0, 0, 0]) { reader in
          var result: [Float] = []
          let field = try #require(try reader.next())
          try reader.appendFloats(field, to: &result)
        }
      }.message.contains("multiple of 4"))
  }

  @Test func string_invalidUTF8_isAnError() {
    #expect(
      errorOf {
        try read([0x0A, 2, 0xC3, 0x28]) { reader in
          let field = try #require(try reader.next())
          return try reader.string(field)
        }
      }.message.contains("UTF-8"))
  }

  @Test func output_ofPieces_countsAndKeepsOrder() throws {
    let storage = try Storage(byteCount: 1000)
    storage.pointer.initializeMemory(as: UInt8.self, repeating: 7, count: 1000)
    var inner = WireWriter()
    inner.string(1, "a")
    inner.append(borrowing: UnsafeRawBufferPointer(start: storage.pointer, count: 1000), keeper: storage)
    inner.string(2, "b")
    var outer = WireWriter()
    outer.integer(1, 5)
    outer.message(3, inner)
    outer.integer(4, 6)
    let bytes = Array(outer)
    #expect(bytes.count == outer.byteCount)
    #expect(bytes == [8, 5, 26, 0xEE, 7, 10, 1, 97] + [UInt8](repeating: 7, count: 1000) + [18, 1, 98, 32, 6])
  }
}

extension WireWriter {
  /// Other serializers than this library's pack numbers.
  fileprivate mutating func packedIntegers(_ number: Int, _ values: [Int64]) {
    var contents = WireWriter()
    for value in values { contents.append(varint: UInt64(bitPattern: value)) }
    message(number, contents)
  }

  fileprivate mutating func packedFloats(_ number: Int, _ values: [Float]) {
    header(number, byteCount: values.count * 4)
    for value in values { append(withUnsafeBytes(of: value.bitPattern.littleEndian) { Array($0) }) }
  }
}
