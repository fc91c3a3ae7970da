import Testing

@testable import CetTensor

@Suite struct LinearAlgebraTests {
  static func positive(_ n: Int, seed: UInt64) throws -> [Double] {
    var random = Random(seed: seed)
    let b = (0..<(n * n)).map { _ in random.normal() }
    let transposed = (0..<(n * n)).map { b[$0 % n * n + $0 / n] }
    var a = try LinearAlgebra.product(b, transposed, m: n, k: n, n: n)
    for i in 0..<n { a[i * n + i] += 1 }
    return a
  }

  @Test func rectangular_product_plainLoops() throws {
    let c = try LinearAlgebra.product([1, 2, 3, 4, 5, 6], [1, 0, 2, -1, 1, 1], m: 2, k: 3, n: 2)
    #expect(c == [8, 1, 20, 1])
    #expect(throws: CetError.self) { try LinearAlgebra.product([1], [1, 2], m: 1, k: 1, n: 1) }
  }

  @Test func positiveDefinite_cholesky_factorInverseAndSolve() throws {
    let n = 7
    let a = try LinearAlgebraTests.positive(n, seed: 1)
    var l = a
    let b = (0..<(2 * n)).map { Double($0) - 3 }
    var x = b
    try l.withUnsafeMutableBufferPointer { l in
      let l = try #require(l.baseAddress)
      #expect(try LinearAlgebra.choleskyInPlace(l, n: n))
      try x.withUnsafeMutableBufferPointer {
        try LinearAlgebra.solveFromCholesky(l, n: n, rightHandSides: try #require($0.baseAddress), rows: 2)
      }
    }
    let lower = (0..<(n * n)).map { $0 % n <= $0 / n ? l[$0] : 0 }
    let upper = (0..<(n * n)).map { lower[$0 % n * n + $0 / n] }
    for (p, q) in zip(try LinearAlgebra.product(lower, upper, m: n, k: n, n: n), a) { #expect(abs(p - q) < 1e-10) }
    for (p, q) in zip(try LinearAlgebra.product(x, a, m: 2, k: n, n: n), b) { #expect(abs(p - q) < 1e-9) }
    var triangle = lower
    try triangle.withUnsafeMutableBufferPointer { try LinearAlgebra.invertLowerTriangleInPlace(try #require($0.baseAddress), n: n) }
    let unit = try LinearAlgebra.product(triangle, lower, m: n, k: n, n: n)
    for i in 0..<(n * n) {
      #expect(abs(unit[i] - (i / n == i % n ? 1 : 0)) < 1e-9)
    }
  }

  @Test func indefinite_cholesky_false() throws {
    var a: [Double] = [1, 2, 2, 1]
    let done = try a.withUnsafeMutableBufferPointer { try LinearAlgebra.choleskyInPlace(try #require($0.baseAddress), n: 2) }
    #expect(!done)
  }

  @Test func symmetric_eigen_reconstructs() throws {
    let n = 9
    let a = try LinearAlgebraTests.positive(n, seed: 2)
    let (values, vectors) = try LinearAlgebra.symmetricEigen(a, n: n)
    #expect(values == values.sorted())
    for i in 0..<n {
      let v = Array(vectors[(i * n)..<((i + 1) * n)])
      for (p, q) in zip(try LinearAlgebra.product(a, v, m: n, k: n, n: 1), v) { #expect(abs(p - values[i] * q) < 1e-9) }
    }
    #expect(throws: CetError.self) { try LinearAlgebra.symmetricEigen([.nan], n: 1) }
  }

  @Test func rankUpdate_float_lowerTriangle() throws {
    let a: [Float] = [1, 2, 3, 4, 5, 6]
    var s = [Float](repeating: -1, count: 4)
    try s.withUnsafeMutableBufferPointer { try LinearAlgebra.ssyrk(a, rows: 3, columns: 2, stride: 2, beta: 0, into: try #require($0.baseAddress)) }
    #expect([s[0], s[2], s[3]] == [35, 44, 56])  // the upper triangle does not count
  }

  @Test func manyColumns_rankUpdate_productsOfColumns() throws {
    let (rows, n, stride) = (5, 333, 340)
    let a = (0..<(rows * stride)).map { Float($0 * 37 % 11 - 5) }
    var s = [Float](repeating: 2, count: n * n)
    try s.withUnsafeMutableBufferPointer {
      try LinearAlgebra.ssyrk(a, rows: rows, columns: n, stride: stride, beta: 3, into: try #require($0.baseAddress))
    }
    for i in 0..<n {
      for j in 0...i {
        let expected = 6 + (0..<rows).reduce(Float(0)) { $0 + a[$1 * stride + i] * a[$1 * stride + j] }
        if s[i * n + j] != expected { Issue.record("\(s[i * n + j]) at \(i), \(j) is not \(expected)") }
      }
    }
  }
}
