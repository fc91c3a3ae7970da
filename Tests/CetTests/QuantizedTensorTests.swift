import CetTensor
import Testing

@testable import Cet

@Suite struct QuantizedTensorTests {
  @Test func codes_everyWidthAndLength_surviveThePacking() throws {
    var random = Random(seed: 5)
    for bits in 1...8 {
      for count in 0...33 {
        let codes = (0..<count).map { _ in UInt8(random.next() & (1 << UInt64(bits) - 1)) }
        let tensor = try QuantizedTensor(
          name: "w", shape: [count], bits: bits, axis: nil, unpacked: codes, scales: [1], zeroPoints: [0])
        #expect(tensor.codes.count == (count * bits + 7) / 8)
        #expect(tensor.unpackedCodes() == codes)
      }
    }
  }

  @Test func packing_isLeastSignificantBitFirst() {
    #expect(QuantizedTensor.pack([1, 2, 3], bits: 4) == [0x21, 0x03])  // as ONNX packs UINT4
    #expect(QuantizedTensor.pack([1, 2, 3, 0, 2], bits: 2) == [0x39, 0x02])  // as ONNX packs UINT2
    #expect(QuantizedTensor.pack([5, 6, 7], bits: 3) == [0b1111_0101, 0b1])
  }

  /// Against the definition, element by element.
  @Test func dequantized_everyGranularity_followsTheDefinition() throws {
    var random = Random(seed: 9)
    let shape = [3, 4, 5]
    let strides = shape.rowMajorStrides
    for axis in [nil, 0, 1, 2] as [Int?] {
      for block in [0, 1, 4, 7, 100] where axis != nil || block == 0 {
        let rows = axis.map { shape[$0] } ?? 1
        let perRow = 60 / rows
        let blocks = block == 0 ? 1 : (perRow + block - 1) / block
        let codes = (0..<60).map { _ in UInt8(random.next() & 7) }
        let scales = (0..<rows * blocks).map { _ in Float(random.uniform()) }
        let zeroPoints = (0..<rows * blocks).map { _ in UInt8(random.next() & 7) }
        let tensor = try QuantizedTensor(
          name: "w", shape: shape, bits: 3, axis: axis, blockSize: block, unpacked: codes, scales: scales,
          zeroPoints: zeroPoints)
        let values = tensor.dequantized()
        for index in 0..<60 {
          let position = (0..<3).map { index / strides[$0] % shape[$0] }
          let row = axis.map { position[$0] } ?? 0
          let others = (0..<3).filter { $0 != axis }
          let inRow = others.reduce(0) { $0 * shape[$1] + position[$1] }
          let entry = block == 0 ? row : row * blocks + inRow / block
          let expected = scales[entry] * Float(Int(codes[index]) - Int(zeroPoints[entry]))
          #expect(values[index] == expected, "axis \(axis ?? -1), block \(block), element \(index)")
        }
      }
    }
  }

  @Test func parts_thatDoNotFit_areRefused() {
    func make(_ shape: [Int], bits: Int, axis: Int?, codes: Int, scales: Int) throws {
      _ = try QuantizedTensor(
        name: "w", shape: shape, bits: bits, axis: axis, codes: [UInt8](repeating: 0, count: codes),
        scales: [Float](repeating: 1, count: scales), zeroPoints: [UInt8](repeating: 0, count: scales))
    }
    #expect(throws: Never.self) { try make([2, 4], bits: 3, axis: 0, codes: 3, scales: 2) }
    #expect(throws: CetError.self) { try make([2, 4], bits: 3, axis: 0, codes: 2, scales: 2) }
    #expect(throws: CetError.self) { try make([2, 4], bits: 3, axis: 1, codes: 3, scales: 2) }
    #expect(throws: CetError.self) { try make([2, 4], bits: 3, axis: 2, codes: 3, scales: 2) }
    #expect(throws: CetError.self) { try make([2, 4], bits: 9, axis: 0, codes: 9, scales: 2) }
    #expect(throws: CetError.self) { try make([-2, 4], bits: 3, axis: 0, codes: 3, scales: 2) }
    #expect(throws: Never.self) { try make([0, 4], bits: 3, axis: 0, codes: 0, scales: 0) }
  }
}
