import CetTensor
import Testing

@testable import CetQuantize

@Suite struct ActivationGridTests {
  @Test(arguments: [4, 8, 16]) func range_isCovered_andZeroIsAValue(_ bits: Int) throws {
    for (low, high) in [(Float(-1), Float(3)), (0, 6), (-2, -1), (0.5, 0.75), (-1e30, 1e30), (1e-30, 2e-30)] {
      let grid = try ActivationGrid(bits: bits, low: low, high: high)
      #expect(grid.low <= 0 && grid.high >= 0)
      #expect(grid.low <= min(low, 0) + grid.scale / 2 * 1.0001 && grid.high >= max(high, 0) - grid.scale / 2 * 1.0001)
    }
  }

  @Test func zerosAlone_haveTheScaleOne() throws {
    #expect(try ActivationGrid(bits: 8, low: 0, high: 0) == ActivationGrid(bits: 8, scale: 1, zeroPoint: 0))
  }

  @Test func badValues_areRefused() {
    #expect(throws: CetError.self) { try ActivationGrid(bits: 5, scale: 1, zeroPoint: 0) }
    #expect(throws: CetError.self) { try ActivationGrid(bits: 4, scale: 1, zeroPoint: 16) }
    #expect(throws: CetError.self) { try ActivationGrid(bits: 8, scale: 0, zeroPoint: 0) }
    #expect(throws: CetError.self) { try ActivationGrid(bits: 8, scale: .nan, zeroPoint: 0) }
    #expect(throws: CetError.self) { try ActivationGrid(bits: 8, low: -.infinity, high: 1) }
  }
}

@Suite struct ValueHistogramTests {
  private static func histogram(_ values: [Float]) -> ValueHistogram {
    var histogram = ValueHistogram()
    values.withUnsafeBufferPointer { histogram.add($0) }
    return histogram
  }

  @Test func range_leavesOutTheRarestValues() {
    let values = (0..<10_000).map { Float($0) / 10_000 - 0.5 } + [100, -200]
    let histogram = Self.histogram(values)
    #expect(histogram.low == -200 && histogram.high == 100 && histogram.count == 10_002)
    let (low, high) = histogram.range(without: 1e-3)
    #expect(abs(low + 0.4995) < 0.01 && abs(high - 0.4995) < 0.01)
    #expect(histogram.range(without: 0) == (-200, 100) || histogram.range(without: 0).low >= -200)
  }

  @Test func parts_addUpToTheWhole() {
    let values = (0..<1000).map { Float($0 * $0 % 97) - 40 }
    var sum = Self.histogram(Array(values[..<300]))
    sum.merge(Self.histogram(Array(values[300...])))
    let whole = Self.histogram(values)
    #expect(sum.low == whole.low && sum.high == whole.high && sum.range(without: 0.1) == whole.range(without: 0.1))
  }

  @Test func leastSquares_cutsOutliersAtFewBits_andKeepsAUniformRange() {
    let uniform = (0..<4096).map { Float($0) / 4096 }
    let (low, high) = Self.histogram(uniform).leastSquaresRange(bits: 8)
    #expect(low == 0 && high > 0.95)
    let cut = Self.histogram(uniform + [8]).leastSquaresRange(bits: 4)
    #expect(cut.high > 2 && cut.high < 4)
  }

  @Test func nonFiniteValues_areSeen() {
    #expect(Self.histogram([1, .nan]).hasNonFinite && Self.histogram([.infinity]).hasNonFinite && !Self.histogram([1]).hasNonFinite)
    #expect(Self.histogram([2, 2]).isConstant && !Self.histogram([2, 3]).isConstant)
  }
}

@Suite struct IntegerWeightsTests {
  @Test(arguments: [(2, 2), (3, 2), (4, 1), (6, 1)]) func fewBits_keepTheirValues(_ bits: Int, _ unit: Int) throws {
    let form = try QuantizedForm(name: "w", shape: [3, 5], bits: bits, axis: 0, zeroUnit: unit)
    var random = Random(seed: 3)
    let tensor = try QuantizedTensor(
      form, codes: (0..<15).map { _ in UInt8(random.next() % (1 << UInt64(bits))) }, scales: [0.1, 0.3, 7],
      zeroPoints: [0, UInt8(unit), UInt8(unit * ((1 << bits) - 1))])
    let integers = IntegerWeights(tensor, bias: nil, inputScale: 1)
    #expect(integers.rounded(tensor.dequantized(), tensor.order) == tensor.dequantized())
  }

  static func wide(_ code: (UInt64) -> UInt8, zero: UInt8) throws -> QuantizedTensor {
    let form = try QuantizedForm(name: "w", shape: [4, 64], bits: 8, axis: 1)
    var random = Random(seed: 5)
    return try QuantizedTensor(
      form, codes: (0..<256).map { _ in code(random.next()) }, scales: [Float](repeating: 0.01, count: 64),
      zeroPoints: [UInt8](repeating: zero, count: 64))
  }

  static func codes(_ tensor: QuantizedTensor, _ integers: IntegerWeights) -> [[Float]] {
    let rounded = integers.rounded(tensor.dequantized(), tensor.order)
    return (0..<64).map { column in (0..<4).map { (rounded[$0 * 64 + column] / integers.scales[column]).rounded() } }
  }

  @Test func moreBits_areRoundedByAHundredTwentySeventhAtMost() throws {
    let tensor = try Self.wide({ UInt8($0 % 256) }, zero: 100)
    let values = tensor.dequantized()
    let integers = IntegerWeights(tensor, bias: nil, inputScale: 1)
    let rounded = integers.rounded(values, tensor.order)
    for column in 0..<64 {
      let rows = (0..<4).map { $0 * 64 + column }
      let peak = rows.map { abs(values[$0]) }.max() ?? 0
      for i in rows { #expect(abs(values[i] - rounded[i]) <= peak / 127 * 1.0001) }
    }
  }

  @Test(arguments: [UInt8(0), 100, 128, 255]) func productsOfTwoNeighbours_fitIn16Bits(_ zero: UInt8) throws {
    let tensor = try Self.wide({ UInt8($0 % 256) }, zero: zero)
    let integers = IntegerWeights(tensor, bias: nil, inputScale: 1)
    for (row, scale) in zip(Self.codes(tensor, integers), integers.scales) {
      let largest = row.map(abs).sorted().suffix(2).reduce(0, +)
      // Rows that the grid's own steps fit keep them, the others use what there is.
      #expect(largest * 255 <= 32_767 && (scale == 0.01 || largest >= 126))
    }
    #expect(integers.scales.contains { $0 != 0.01 })
  }

  @Test func oneLargeWeight_leavesTheOthersTheirSteps() throws {
    let tensor = try Self.wide({ $0 % 4 == 0 ? 227 : 100 }, zero: 100)
    let single = Self.codes(tensor, IntegerWeights(tensor, bias: nil, inputScale: 1)).filter { $0.filter { $0 != 0 }.count == 1 }
    #expect(!single.isEmpty && single.allSatisfy { $0.contains(127) })
  }

  @Test func biasThatDwarfsItsRow_staysAnInteger() throws {
    let form = try QuantizedForm(name: "w", shape: [2, 4], bits: 4, axis: 0)
    let tensor = try QuantizedTensor(form, codes: [UInt8](repeating: 9, count: 8), scales: [1e-12, 1], zeroPoints: [8, 8])
    let integers = IntegerWeights(tensor, bias: [5, 0.25], inputScale: 0.01)
    #expect(integers.scales[0] * 0.01 * 0x1p31 > 5 && integers.scales[1] == 1)
    let bias = integers.rounded(bias: [5, 0.25], inputScale: 0.01)
    #expect(abs(bias[0] - 5) < 1e-6 && bias[1] == 0.25)
  }
}
