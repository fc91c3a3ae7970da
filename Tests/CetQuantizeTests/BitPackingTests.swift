import CetTensor
import Testing

@testable import CetQuantize

@Suite struct BitPackingTests {
  @Test(arguments: 1...8) func randomCodes_planesRoundTrip_same(bits: Int) throws {
    var random = Random(seed: UInt64(bits))
    for count in [0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 63, 64, 65, 127, 1000, 4097] {
      let codes = (0..<count).map { _ in UInt8(random.next() % UInt64(1 << bits)) }
      let planes = try BitPacking.packPlanes(codes, bits: bits)
      #expect(planes.count == bits * ((count + 7) / 8))
      #expect(try BitPacking.unpackPlanes(planes, count: count, bits: bits) == codes)
      for (i, code) in codes.enumerated().prefix(70) {
        for k in 0..<bits {
          #expect((planes[k * ((count + 7) / 8) + i / 8] >> UInt8(i % 8)) & 1 == (code >> UInt8(k)) & 1)
        }
      }
    }
  }

  @Test(arguments: [1, 2, 4, 8]) func randomCodes_packedRoundTrip_same(bits: Int) throws {
    var random = Random(seed: UInt64(bits))
    for count in [0, 1, 2, 3, 5, 8, 9, 31, 1001] {
      let codes = (0..<count).map { _ in UInt8(random.next() % UInt64(1 << bits)) }
      let bytes = try BitPacking.pack(codes, bits: bits)
      #expect(bytes.count == (count * bits + 7) / 8)
      #expect(try BitPacking.unpack(bytes, count: count, bits: bits) == codes)
    }
  }

  @Test func knownCodes_pack_onnxBytes() throws {
    #expect(try BitPacking.pack([1, 2, 3], bits: 4) == [0x21, 0x03])
    #expect(try BitPacking.pack([1, 2, 3, 0, 2], bits: 2) == [0b00_11_10_01, 0b10])
    #expect(try BitPacking.packPlanes([1, 2, 3], bits: 2) == [0b101, 0b110])
  }

  @Test func badArguments_pack_throw() {
    #expect(throws: CetError.self) { try BitPacking.packPlanes([4], bits: 2) }
    #expect(throws: CetError.self) { try BitPacking.packPlanes([0], bits: 0) }
    #expect(throws: CetError.self) { try BitPacking.pack([0], bits: 3) }
    #expect(throws: CetError.self) { try BitPacking.unpack([0], count: 3, bits: 4) }
    #expect(throws: CetError.self) { try BitPacking.unpackPlanes([0], count: -1, bits: 2) }
    #expect(throws: CetError.self) { try BitPacking.unpackPlanes([0], count: 1, bits: 9) }
  }
}
