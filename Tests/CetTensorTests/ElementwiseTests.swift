import Glibc
import Testing

@testable import CetTensor

@Suite struct ElementwiseTests {
  /// Every 40009th float bit pattern (subnormals, infinities and NaN among them), and a dense range around 0.
  static let values: [Float] = {
    var values = stride(from: UInt64(0), through: UInt64(UInt32.max), by: 40009).map { Float(bitPattern: UInt32($0)) }
    values += (-40_000...40_000).map { Float($0) * 2.7e-3 }
    values += [0, -0.0, .infinity, -.infinity, .nan, .leastNonzeroMagnitude, -.leastNonzeroMagnitude]
    values += [.leastNormalMagnitude, .greatestFiniteMagnitude, -.greatestFiniteMagnitude, 1, -1]
    return values
  }()

  static func apply(_ function: Elementwise.Unary, _ x: [Float]) -> [Float] {
    var out = [Float](repeating: 0, count: x.count)
    Elementwise.apply(function, x, into: &out, count: x.count)
    return out
  }

  /// Distance to the true value in units of the float there; infinities and NaN must agree exactly.
  static func ulps(_ found: Float, _ expected: Double) -> Double {
    let rounded = Float(expected)
    if rounded.isNaN || found.isNaN { return rounded.isNaN && found.isNaN ? 0 : .infinity }
    if rounded.isInfinite || found.isInfinite {
      // A value within half a unit of the largest float may become infinite.
      return found == rounded || min(abs(Double(found)), abs(expected)) > 3.40282e38 ? 0 : .infinity
    }
    return abs(Double(found) - expected) / Double(rounded.ulp)
  }

  static let accurate: [(Elementwise.Unary, Double, @Sendable (Double) -> Double)] = [
    (.exp, 2, { exp($0) }), (.log, 2, { log($0) }), (.tanh, 3, { tanh($0) }),
    (.sigmoid, 4, { $0 < 0 ? exp($0) / (1 + exp($0)) : 1 / (1 + exp(-$0)) }), (.erf, 3, { erf($0) }),
    (.squareRoot, 0.51, { $0.squareRoot() }), (.reciprocal, 0.51, { 1 / $0 }), (.negate, 0, { -$0 }),
    (.absolute, 0, { abs($0) }), (.relu, 0, { $0 < 0 ? 0 : $0 }),
  ]

  @Test(arguments: 0..<10) func unary_allOfFloat_isWithinFewUlps(index: Int) {
    let (function, limit, reference) = Self.accurate[index]
    let found = Self.apply(function, Self.values)
    var worst = (error: 0.0, at: Float(0))
    for (x, y) in zip(Self.values, found) {
      let error = Self.ulps(y, reference(Double(x)))
      if error > worst.error { worst = (error, x) }
    }
    #expect(worst.error <= limit, "\(function) is off by \(worst.error) at \(worst.at)")
  }

  @Test(arguments: Elementwise.Unary.allCases)
  func unary_anyLengthAndAlignment_givesTheSameBits(function: Elementwise.Unary) {
    let x = Array(Self.values.prefix(5000).suffix(200))
    let whole = Self.apply(function, x).map(\.bitPattern)
    for start in 0..<20 {
      for end in [start + 1, start + 7, start + 16, start + 33, 200] {
        #expect(Self.apply(function, Array(x[start..<end])).map(\.bitPattern) == Array(whole[start..<end]))
      }
    }
    var inPlace = x
    inPlace.withUnsafeMutableBufferPointer { buffer in
      guard let base = buffer.baseAddress else { return }
      Elementwise.apply(function, base, into: base, count: buffer.count)
    }
    #expect(inPlace.map(\.bitPattern) == whole)
  }

  static func scalar(_ operation: Elementwise.Binary, _ a: Float, _ b: Float) -> Float {
    switch operation {
    case .add: a + b
    case .subtract: a - b
    case .multiply: a * b
    case .divide: a / b
    case .maximum: a.isNaN || b.isNaN ? .nan : max(a, b)
    case .minimum: a.isNaN || b.isNaN ? .nan : min(a, b)
    case .subtractFrom: b - a
    case .divideInto: b / a
    }
  }

  static func same(_ a: [Float], _ b: [Float]) -> Bool {
    a.count == b.count && zip(a, b).allSatisfy { $0 == $1 || ($0.isNaN && $1.isNaN) }
  }

  @Test(arguments: Elementwise.Binary.allCases)
  func binary_allForms_matchScalarArithmetic(operation: Elementwise.Binary) {
    var generator = Random(seed: 1)
    for (rows, columns) in [(1, 1), (3, 5), (7, 16), (5, 67), (40, 1)] {
      let count = rows * columns
      var a = (0..<count).map { _ in Float(generator.normal()) }
      let b = (0..<count).map { _ in Float(generator.normal()) }
      a[count / 2] = .nan
      var out = [Float](repeating: 0, count: count)
      Elementwise.apply(operation, a, b, into: &out, count: count)
      #expect(Self.same(out, (0..<count).map { Self.scalar(operation, a[$0], b[$0]) }))
      Elementwise.apply(operation, a, row: b, into: &out, rows: rows, columns: columns)
      #expect(Self.same(out, (0..<count).map { Self.scalar(operation, a[$0], b[$0 % columns]) }))
      Elementwise.apply(operation, a, column: b, into: &out, rows: rows, columns: columns)
      #expect(Self.same(out, (0..<count).map { Self.scalar(operation, a[$0], b[$0 / columns]) }))
      Elementwise.apply(operation, a, scalar: b[0], into: &out, count: count)
      #expect(Self.same(out, (0..<count).map { Self.scalar(operation, a[$0], b[0]) }))
    }
  }

  @Test func maskAndSum_anyLength_matchDefinition() {
    var generator = Random(seed: 2)
    for count in [0, 1, 15, 16, 17, 100] {
      let x = (0..<count).map { _ in Float(generator.normal()) }
      let y = (0..<count).map { _ in Float(generator.normal()) }
      var out = [Float](repeating: 0, count: count)
      Elementwise.reluMask(x, y, into: &out, count: count)
      #expect(out == zip(x, y).map { $0 > 0 ? $1 : 0 })
      out = y
      Elementwise.accumulate(x, into: &out, count: count)
      #expect(out == zip(x, y).map { $0 + $1 })
    }
  }

  @Test func reluMask_atKinkAndNaN_isZero() {
    var out: [Float] = [9, 9, 9]
    Elementwise.reluMask([0, -0.0, .nan], [1, 2, 3], into: &out, count: 3)
    #expect(out == [0, 0, 0])
  }
}

@Suite struct ReductionTests {
  @Test(arguments: [(1, 1), (3, 7), (2, 16), (5, 300), (4, 1000), (130, 3), (3, 257)])
  func reductions_anySize_matchDoubleSums(rows: Int, columns: Int) {
    var generator = Random(seed: 3)
    let x = (0..<(rows * columns)).map { _ in Float(generator.normal() * 3) }
    let y = (0..<(rows * columns)).map { _ in Float(generator.normal()) }
    func row(_ r: Int) -> [Double] { x[(r * columns)..<((r + 1) * columns)].map(Double.init) }

    let dot = zip(x, y).reduce(0.0) { $0 + Double($1.0) * Double($1.1) }
    #expect(abs(Reduction.dot(x, y, count: x.count) - dot) < 1e-11 * Double(x.count))

    var sums = [Float](repeating: 0, count: rows)
    Reduction.sumRows(x, into: &sums, rows: rows, columns: columns)
    #expect((0..<rows).allSatisfy { abs(Double(sums[$0]) - row($0).reduce(0, +)) < 1e-5 * 30 })
    var columnSums = [Float](repeating: 0, count: columns)
    Reduction.sumColumns(x, rowStride: columns, into: &columnSums, rows: rows, columns: columns)
    for j in 0..<columns {
      let expected = (0..<rows).reduce(0.0) { $0 + Double(x[$1 * columns + j]) }
      #expect(columnSums[j] == Float(expected))
    }

    var soft = [Float](repeating: 0, count: x.count)
    var logSoft = soft
    Reduction.softmaxRows(x, into: &soft, rows: rows, columns: columns)
    Reduction.logSoftmaxRows(x, into: &logSoft, rows: rows, columns: columns)
    for r in 0..<rows {
      let values = row(r)
      let top = values.max() ?? 0
      let total = values.reduce(0) { $0 + exp($1 - top) }
      for (j, value) in values.enumerated() {
        #expect(ElementwiseTests.ulps(soft[r * columns + j], exp(value - top) / total) < 4)
        #expect(abs(Double(logSoft[r * columns + j]) - (value - top - log(total))) < 2e-6)
      }
    }
  }

  @Test func softmax_hugeAndInfiniteValues_followTheLimit() {
    var out = [Float](repeating: 0, count: 3)
    Reduction.softmaxRows([1e30, 1e30, -1e30], into: &out, rows: 1, columns: 3)
    #expect(out == [0.5, 0.5, 0])
    Reduction.softmaxRows([-.infinity, 0, -.infinity], into: &out, rows: 1, columns: 3)
    #expect(out == [0, 1, 0])
    Reduction.softmaxRows([.nan, 0, 1], into: &out, rows: 1, columns: 3)
    #expect(out.allSatisfy { $0.isNaN })
    Reduction.logSoftmaxRows([-.infinity, 0, -.infinity], into: &out, rows: 1, columns: 3)
    #expect(out == [-.infinity, 0, -.infinity])
  }

  @Test func dot_cancellingTerms_keepsSmallPart() {
    let x: [Float] = [1e8, 1, -1e8] + [Float](repeating: 0, count: 20)
    let ones = [Float](repeating: 1, count: x.count)
    #expect(Reduction.dot(x, ones, count: x.count) == 1)
  }

  @Test func softmax_nanAnywhere_isNaN() {
    for position in [0, 5, 16, 19] {
      var x = (0..<20).map(Float.init)
      x[position] = .nan
      var out = x
      Reduction.softmaxRows(x, into: &out, rows: 1, columns: 20)
      #expect(out.allSatisfy { $0.isNaN })
    }
  }
}
