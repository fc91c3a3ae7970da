import CetTensor
import Testing

@testable import CetQuantize

@Suite struct QuantizedTensorTests {
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
          QuantizedForm(name: "w", shape: shape, bits: 3, axis: axis, blockSize: block), codes: codes, scales: scales,
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
        QuantizedForm(name: "w", shape: shape, bits: bits, axis: axis), codes: [UInt8](repeating: 0, count: codes),
        scales: [Float](repeating: 1, count: scales), zeroPoints: [UInt8](repeating: 0, count: scales))
    }
    #expect(throws: Never.self) { try make([2, 4], bits: 3, axis: 0, codes: 8, scales: 2) }
    #expect(throws: CetError.self) { try make([2, 4], bits: 3, axis: 0, codes: 3, scales: 2) }
    #expect(throws: CetError.self) { try make([2, 4], bits: 3, axis: 1, codes: 8, scales: 2) }
    #expect(throws: CetError.self) { try make([2, 4], bits: 3, axis: 2, codes: 8, scales: 2) }
    #expect(throws: CetError.self) { try make([2, 4], bits: 9, axis: 0, codes: 8, scales: 2) }
    #expect(throws: CetError.self) { try make([-2, 4], bits: 3, axis: 0, codes: 8, scales: 2) }
    #expect(throws: Never.self) { try make([0, 4], bits: 3, axis: 0, codes: 0, scales: 0) }
  }

  @Test func dequantized_halves_liesBetweenTwoCodes() throws {
    let form = try QuantizedForm(name: "w", shape: [1, 4], bits: 2, axis: 0, zeroUnit: 2)
    let tensor = try QuantizedTensor(form, codes: [0, 1, 2, 3], scales: [2], zeroPoints: [3])
    #expect(tensor.dequantized() == [-3, -1, 1, 3])
  }

  @Test func dequantized_symmetric_signedIntegers() throws {
    let form = try QuantizedForm(name: "w", shape: [1, 4], bits: 2, axis: 0, coding: .symmetric)
    let tensor = try QuantizedTensor(form, codes: [0, 1, 2, 3], scales: [2], zeroPoints: [])
    #expect(tensor.dequantized() == [-4, -2, 0, 2])
    #expect(tensor.ownOrSharedZeroPoints == [2])
    let joined = try QuantizedTensor.joined([tensor, tensor], name: "both")
    #expect(joined.dequantized() == [-4, -2, 0, 2, -4, -2, 0, 2] && joined.zeroPoints == [])
    #expect(throws: CetError.self) { try QuantizedTensor(form, codes: [0, 1, 2, 3], scales: [2], zeroPoints: [2]) }
  }

  @Test(arguments: [0, 1, 2]) func view_assembled_hasTheRoundedValuesInPlace(_ axis: Int) throws {
    let shape = [3, 4, 5]
    var random = Random(seed: 3)
    let values = (0..<60).map { _ in Float(random.normal()) }
    let view = try WeightView(name: "w", shape: shape, axis: axis, values)
    #expect(view.matrix.rows == shape[axis])
    for granularity in [Granularity.perTensor, .perAxis, .block(7)] {
      let matrix = try MatrixRounding.nearest(
        view.matrix, grid: ScaleSearch.search(view.matrix, bits: 4, granularity: granularity))
      let tensor = try view.assembled(matrix)
      let order = RowOrder(shape, axis: axis)
      #expect(order.rowsFirst(tensor.dequantized()) == matrix.dequantize())
      #expect(order.tensorOrder(order.rowsFirst(values)) == values)
      #expect(tensor.axis == (granularity == .perTensor ? nil : axis))
    }
  }
}
