import CetTensor
import Testing

@Suite struct BitPackingTests {
  private static func codes(_ count: Int, bits: Int) -> [UInt8] {
    var random = Random(seed: UInt64(bits))
    return (0..<count).map { _ in UInt8(random.next() % UInt64(1 << bits)) }
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
  }

  @Test func bitsAboveTheWidth_areLeftAside() {
    #expect(BitPacking.pack([0xFF, 0], bits: 4) == [0x0F])  // −1 as ONNX packs INT4
  }
}
