import CetTensor
import Testing

@testable import CetQuantize

@Suite struct QuantizedMatrixTests {
  @Test func raggedBlocks_dequantize_usesEachBlocksScale() throws {
    let grid = try AffineGrid(
      bits: 2, rows: 2, columns: 3, granularity: .block(2), scales: [1, 10, 100, 1000], zeroPoints: [0, 1, 2, 3])
    let matrix = try QuantizedMatrix(grid: grid, codes: [1, 2, 3, 0, 3, 2])
    #expect(matrix.dequantize() == [1, 2, 20, -200, 100, -1000])
  }

  @Test func perTensor_dequantize_oneScale() throws {
    let grid = try AffineGrid(bits: 8, rows: 1, columns: 2, granularity: .perTensor, scales: [0.5], zeroPoints: [128])
    #expect(try QuantizedMatrix(grid: grid, codes: [0, 255]).dequantize() == [-64, 63.5])
  }

  @Test func badParts_init_throw() throws {
    #expect(throws: CetError.self) {
      try AffineGrid(bits: 2, rows: 2, columns: 2, granularity: .perAxis, scales: [1], zeroPoints: [0])
    }
    #expect(throws: CetError.self) {
      try AffineGrid(bits: 2, rows: 1, columns: 2, granularity: .perAxis, scales: [0], zeroPoints: [0])
    }
    #expect(throws: CetError.self) {
      try AffineGrid(bits: 2, rows: 1, columns: 2, granularity: .perAxis, scales: [1], zeroPoints: [4])
    }
    #expect(throws: CetError.self) {
      try AffineGrid(bits: 0, rows: 1, columns: 2, granularity: .perAxis, scales: [1], zeroPoints: [0])
    }
    let grid = try AffineGrid(bits: 2, rows: 1, columns: 2, granularity: .perAxis, scales: [1], zeroPoints: [0])
    #expect(throws: CetError.self) { try QuantizedMatrix(grid: grid, codes: [1]) }
    #expect(throws: CetError.self) { try QuantizedMatrix(grid: grid, codes: [1, 4]) }
    #expect(throws: CetError.self) { try WeightMatrix([1], rows: .max, columns: .max) }
  }

  @Test func rowFactors_scaleRows_multiplyValues() throws {
    let grid = try AffineGrid(
      bits: 2, rows: 2, columns: 2, granularity: .block(1), scales: [1, 2, 3, 4], zeroPoints: [0, 0, 0, 0])
    var matrix = try QuantizedMatrix(grid: grid, codes: [1, 1, 1, 1])
    try matrix.scaleRows(by: [2, 0.5])
    #expect(matrix.dequantize() == [2, 4, 1.5, 2])
    #expect(throws: CetError.self) { try matrix.scaleRows(by: [1, -1]) }
  }
}
