import CetTensor
import Testing

@testable import CetQuantize

@Suite struct MatrixRoundingTests {
  /// Step 1 in double, one row, written as in the article: U from the inverse, one column at a time.
  static func plainGPTQ(_ w: [Float], _ grid: AffineGrid, _ row: Int, _ h: [Double], _ n: Int) throws -> [Double] {
    let order = (0..<n).sorted { (h[$0 * n + $0], $1) > (h[$1 * n + $1], $0) }
    var a = (0..<(n * n)).map { h[order[$0 / n] * n + order[$0 % n]] }
    var inverse = (0..<(n * n)).map { $0 / n == $0 % n ? 1.0 : 0 }
    try a.withUnsafeMutableBufferPointer { a in
      let a = try #require(a.baseAddress)
      #expect(try LinearAlgebra.choleskyInPlace(a, n: n))
      try inverse.withUnsafeMutableBufferPointer { inverse in
        let inverse = try #require(inverse.baseAddress)
        try LinearAlgebra.solveFromCholesky(a, n: n, rightHandSides: inverse, rows: n)
        // H⁻¹ = L Lᵀ, U = Lᵀ
        #expect(try LinearAlgebra.choleskyInPlace(inverse, n: n))
      }
    }
    a = inverse
    var rest = order.map { Double(w[row * n + $0]) }
    var result = [Double](repeating: 0, count: n)
    for j in 0..<n {
      let block = order[j] / grid.blockSize
      let s = Double(grid.scales[grid.index(row: row, block: block)])
      let z = Double(grid.zeroPoints[grid.index(row: row, block: block)])
      let q = min(max((rest[j] / s).rounded(.toNearestOrEven) + z, 0), Double(grid.highestCode))
      result[order[j]] = (q - z) * s
      let e = (rest[j] - (q - z) * s) / a[j * n + j]
      for k in j..<n { rest[k] -= e * a[k * n + j] }
    }
    return result
  }

  @Test(arguments: [Granularity.perAxis, .perTensor, .block(32)])
  func stepOne_plainReference_sameErrors(granularity: Granularity) throws {
    let (rows, n) = (10, 150)
    let weights = try Problems.weights(rows: rows, columns: n, seed: 1)
    let c = try Problems.covariance(columns: n, samples: 600, seed: 2)
    let h = Problems.damped(c, n, 0.01)
    let factor = try CurvatureFactor(covariance: c, dimension: n)
    let grid = try ScaleSearch.search(weights, bits: 3, granularity: granularity)
    var expected: [Double] = []
    for row in 0..<rows { expected += try MatrixRoundingTests.plainGPTQ(weights.values, grid, row, h, n) }

    let block = try weights.values.withUnsafeBufferPointer {
      try RowBlock(weights: try #require($0.baseAddress), firstRow: 0, rows: rows, grid: grid, factor: factor, starts: [1])
    }
    try block.gptq()
    try block.residual()
    var codes = [UInt8](repeating: 0, count: rows * n)
    var scales = grid.scales
    var errors = [Double](repeating: 0, count: rows)
    try codes.withUnsafeMutableBufferPointer { codes in
      try scales.withUnsafeMutableBufferPointer { scales in
        try errors.withUnsafeMutableBufferPointer { errors in
          block.emit(
            RoundingOutput(
              codes: try #require(codes.baseAddress), scales: try #require(scales.baseAddress), scaleStride: 0,
              errors: try #require(errors.baseAddress)))
        }
      }
    }
    let matrix = QuantizedMatrix(unchecked: grid, codes: codes)
    // A single precision tie may fall the other way: nearly all codes and every row's error must agree.
    let same = zip(matrix.dequantize(), expected).filter { abs(Double($0) - $1) < 1e-5 }.count
    #expect(Double(same) > 0.98 * Double(rows * n))
    let plain = try LinearAlgebra.product(
      zip(expected, weights.values).map { $0 - Double($1) }, h, m: rows, k: n, n: n)
    for row in 0..<rows {
      let error = (0..<n).reduce(0.0) { $0 + plain[row * n + $1] * (expected[row * n + $1] - Double(weights.values[row * n + $1])) }
      #expect(abs(errors[row] - error) < 0.1 * error)
    }
    let reported = try Problems.errors(weights, matrix, h)
    for row in 0..<rows { #expect(abs(errors[row] - reported[row]) < 1e-3 * reported[row]) }
  }

  @Test func factor_squared_isCovariance() throws {
    let n = 30
    let c = try Problems.covariance(columns: n, samples: 200, seed: 3)
    let factor = try CurvatureFactor(covariance: c, dimension: n)
    // M, lower: shares of errors times the root of the column's own curvature.
    let m = (0..<(n * n)).map { place in
      let (k, j) = (place / n, place % n)
      let root = Double(factor.feedback.pointer[k * n + k])
      return j > k ? 0 : j == k ? root : root * Double(factor.feedback.pointer[place])
    }
    let transposed = (0..<(n * n)).map { m[$0 % n * n + $0 / n] }
    let product = try LinearAlgebra.product(transposed, m, m: n, k: n, n: n)
    for place in product.indices { #expect(abs(product[place] - Double(factor.h.pointer[place])) < 1e-5) }
    for (a, b) in zip(factor.order, factor.order.dropFirst()) { #expect(c[a * n + a] >= c[b * n + b]) }
  }

  @Test(arguments: [1, 2, 3, 4, 8]) func correlatedCovariance_gptq_wellBelowNearest(bits: Int) throws {
    let (rows, n) = (37, 144)
    let weights = try Problems.weights(rows: rows, columns: n, seed: 4)
    let c = try Problems.covariance(columns: n, samples: 1000, seed: 5)
    let factor = try CurvatureFactor(covariance: c, dimension: n)
    for granularity in [Granularity.perAxis, .perTensor, .block(48)] {
      let grid = try ScaleSearch.search(weights, bits: bits, granularity: granularity)
      let nearest = try Problems.errors(weights, MatrixRounding.nearest(weights, grid: grid), c).reduce(0, +)
      let rounded = try MatrixRounding.gptq(weights, grid: grid, factors: [factor])
      let error = try Problems.errors(weights, rounded.matrix, c).reduce(0, +)
      #expect(error < (bits == 1 ? 0.7 : 0.5) * nearest, "\(granularity)")
      let single = try MatrixRounding.gptq(weights, grid: grid, factors: [factor], options: RoundingOptions(starts: [1], sweeps: 4, finalSweeps: 0))
      #expect(rounded.rowErrors.reduce(0, +) <= single.rowErrors.reduce(0, +) * 1.02)
      let h = Problems.damped(c, n, 0.01)
      for (x, y) in zip(rounded.rowErrors, try Problems.errors(weights, rounded.matrix, h)) {
        #expect(abs(x - y) <= 2e-3 * y + 1e-12)
      }
    }
  }

  @Test(arguments: [Granularity.perAxis, .perTensor, .block(20)])
  func moreSweeps_gptq_errorNeverRises(granularity: Granularity) throws {
    let (rows, n) = (20, 90)
    let weights = try Problems.weights(rows: rows, columns: n, seed: 6)
    let c = try Problems.covariance(columns: n, samples: 300, seed: 7)
    let factor = try CurvatureFactor(covariance: c, dimension: n)
    for bits in [2, 3, 4] {
      let grid = try ScaleSearch.search(weights, bits: bits, granularity: granularity)
      var previous = Double.infinity
      for sweeps in 0...6 {
        let options = RoundingOptions(starts: [1], sweeps: sweeps, finalSweeps: 0, smallestChange: 0)
        let error = try MatrixRounding.gptq(weights, grid: grid, factors: [factor], options: options).rowErrors.reduce(0, +)
        #expect(error <= previous * (1 + 1e-6))
        previous = error
      }
    }
  }

  @Test func deadAndDependentColumns_gptq_finite() throws {
    let (rows, n) = (6, 40)
    let weights = try Problems.weights(rows: rows, columns: n, seed: 8)
    // 10 samples for 40 columns, 5 columns that are always zero.
    var patches = Problems.patches(rows: 10, columns: n, seed: 9)
    for i in 0..<10 { for j in 7..<12 { patches[i * n + j] = 0 } }
    var moment = try SecondMoment(dimension: n)
    try moment.add(patches, rows: 10)
    for damping in [0, 0.01] {
      let factor = try CurvatureFactor(covariance: moment.covariance(), dimension: n, relativeDamping: damping)
      let rounded = try MatrixRounding.gptq(weights, bits: 3, granularity: .perAxis, factor: factor)
      #expect(rounded.rowErrors.allSatisfy { $0.isFinite })
      // What no sample sees is rounded to the nearest code.
      let values = rounded.matrix.dequantize()
      if damping > 0 {
        for row in 0..<rows {
          let grid = rounded.matrix.grid
          let (s, z) = (grid.scales[row], Float(grid.zeroPoints[row]))
          for j in 7..<12 where abs(weights.values[row * n + j]) < s * min(z, 7 - z) {
            #expect(abs(values[row * n + j] - weights.values[row * n + j]) <= s * 0.5001)
          }
        }
      }
    }
    let zero = try CurvatureFactor(covariance: [Double](repeating: 0, count: n * n), dimension: n)
    let rounded = try MatrixRounding.gptq(weights, bits: 2, granularity: .perAxis, factor: zero)
    #expect(rounded.matrix.codes.count == rows * n)
  }

  @Test func nanInput_gptq_throwsNumeric() throws {
    func expectNumeric(_ body: () throws -> Void) {
      do {
        try body()
        Issue.record("no error")
      } catch { #expect((error as? CetError)?.code == .numeric) }
    }
    expectNumeric { _ = try CurvatureFactor(covariance: [1, 0, .nan, 1], dimension: 2) }
    expectNumeric { _ = try CurvatureFactor(covariance: [.infinity, 0, 0, 1], dimension: 2) }
    expectNumeric { _ = try CurvatureFactor(covariance: [1, 1e9, 1e9, 1], dimension: 2) }
    let factor = try CurvatureFactor(covariance: [1, 0, 0, 1], dimension: 2)
    let grid = try AffineGrid(bits: 2, rows: 1, columns: 2, granularity: .perAxis, scales: [1], zeroPoints: [1])
    expectNumeric { _ = try MatrixRounding.gptq(WeightMatrix([1, .nan], rows: 1, columns: 2), grid: grid, factors: [factor]) }
    #expect(throws: CetError.self) {
      try MatrixRounding.gptq(WeightMatrix([1, 2, 3], rows: 1, columns: 3), grid: grid, factors: [factor])
    }
  }

  @Test(arguments: [Granularity.perAxis, .perTensor, .block(25)])
  func threads_gptq_sameBits(granularity: Granularity) throws {
    let weights = try Problems.weights(rows: 100, columns: 100, seed: 10)
    let factor = try CurvatureFactor(
      covariance: Problems.covariance(columns: 100, samples: 300, seed: 11), dimension: 100)
    let results = try [1, 2, 5].map {
      try MatrixRounding.gptq(weights, bits: 2, granularity: granularity, factor: factor, workers: Workers(threads: $0))
    }
    for other in results[1...] {
      let sameCodes = other.matrix.codes == results[0].matrix.codes
      #expect(sameCodes)
      #expect(other.matrix.scales == results[0].matrix.scales)
      #expect(other.rowErrors == results[0].rowErrors)
    }
  }

  @Test func depthwiseGroups_gptq_sameAsSeparateCalls() throws {
    let groups = 24
    let weights = try Problems.weights(rows: groups, columns: 9, seed: 12)
    let factors = try (0..<groups).map {
      try CurvatureFactor(covariance: Problems.covariance(columns: 9, samples: 60, seed: 100 + UInt64($0)), dimension: 9)
    }
    let grid = try ScaleSearch.search(weights, bits: 3, granularity: .perAxis)
    let together = try MatrixRounding.gptq(weights, grid: grid, factors: factors, workers: Workers(threads: 2))
    for group in 0..<groups {
      let alone = try MatrixRounding.gptq(
        WeightMatrix(Array(weights.values[(group * 9)..<(group * 9 + 9)]), rows: 1, columns: 9), bits: 3,
        granularity: .perAxis, factor: factors[group])
      #expect(alone.matrix.codes == Array(together.matrix.codes[(group * 9)..<(group * 9 + 9)]))
      #expect(alone.matrix.scales[0] == together.matrix.scales[group])
    }
  }

  @Test func emptyMatrix_roundings_empty() throws {
    let weights = try WeightMatrix([], rows: 0, columns: 4)
    let grid = try ScaleSearch.search(weights, bits: 3, granularity: .perAxis)
    #expect(try MatrixRounding.nearest(weights, grid: grid).codes.isEmpty)
    let factor = try CurvatureFactor(covariance: [Double](repeating: 0, count: 16), dimension: 4)
    #expect(try MatrixRounding.gptq(weights, grid: grid, factors: [factor]).matrix.codes.isEmpty)
  }
}
