import CetTensor
import Testing

@Suite struct BitPackingTests {
  private static func codes(_ count: Int, bits: Int) -> [UInt8] {
    var random = Random(seed: UInt64(bits))
    return (0..<count).map { _ in UInt8(random.next() % UInt64(1 << bits)) }
  }

  @Test(arguments: 1...8) func planes_holdEveryBitOfEveryCode(bits: Int) {
    for count in [0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 63, 64, 65, 127, 1000, 4097] {
      let codes = Self.codes(count, bits: bits)
      let planes = BitPacking.packPlanes(codes, bits: bits)
      let width = (count + 7) / 8
      #expect(planes.count == bits * width && planes.count == BitPacking.planeByteCount(count: count, bits: bits))
      var expected = [UInt8](repeating: 0, count: bits * width)
      for (i, code) in codes.enumerated() {
        for k in 0..<bits { expected[k * width + i / 8] |= ((code >> UInt8(k)) & 1) << UInt8(i % 8) }
      }
      #expect(planes == expected)
    }
  }

  @Test(arguments: 1...8) func packedCodes_everyWidthAndLength_areUnpackedTheSame(bits: Int) {
    for count in Array(0...33) + [1001] {
      let codes = Self.codes(count, bits: bits)
      let bytes = BitPacking.pack(codes, bits: bits)
      #expect(bytes.count == (count * bits + 7) / 8)
      var back = [UInt8](repeating: 0xFF, count: count)
      bytes.withUnsafeBytes { BitPacking.unpack($0, count: count, bits: bits, into: &back) }
      #expect(back == codes)
    }
  }

  @Test func packing_isLeastSignificantBitFirst() {
    #expect(BitPacking.pack([1, 2, 3], bits: 4) == [0x21, 0x03])  // as ONNX packs UINT4
    #expect(BitPacking.pack([1, 2, 3, 0, 2], bits: 2) == [0x39, 0x02])  // as ONNX packs UINT2
    #expect(BitPacking.pack([5, 6, 7], bits: 3) == [0b1111_0101, 0b1])
    #expect(BitPacking.packPlanes([1, 2, 3], bits: 2) == [0b101, 0b110])
  }

  @Test func bitsAboveTheWidth_areLeftAside() {
    #expect(BitPacking.pack([0xFF, 0], bits: 4) == [0x0F])  // −1 as ONNX packs INT4
    #expect(BitPacking.packPlanes([0xFE], bits: 2) == [0, 1])
  }
}
