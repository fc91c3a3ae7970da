import Testing

@testable import CetTensor

/// Beyond one tile, against LAPACK's untiled routines.
@Suite struct TiledLinearAlgebraTests {
  private struct Results {
    var factor: [Double]
    var inverse: [Double]
    var solution: [Double]
    var product: [Double]
  }

  private static func right(_ n: Int) -> [Double] { (0..<(70 * n)).map { Double($0 % 13) - 6 } }

  private static func tiled(_ a: [Double], n: Int, threads: Int) throws -> Results {
    let workers = Workers(threads: threads)
    var factor = a
    var inverse = a
    var solution = right(n)
    try factor.withUnsafeMutableBufferPointer {
      let base = try #require($0.baseAddress)
      #expect(try LinearAlgebra.choleskyInPlace(base, n: n, workers: workers))
    }
    inverse = factor
    try inverse.withUnsafeMutableBufferPointer {
      try LinearAlgebra.invertLowerTriangleInPlace(try #require($0.baseAddress), n: n, workers: workers)
    }
    try solution.withUnsafeMutableBufferPointer {
      try LinearAlgebra.solveFromCholesky(
        factor, n: n, rightHandSides: try #require($0.baseAddress), rows: 70, workers: workers)
    }
    let product = try LinearAlgebra.product(right(n), a, m: 70, k: n, n: n, workers: workers)
    return Results(factor: factor, inverse: inverse, solution: solution, product: product)
  }

  private static func plain(_ a: [Double], n: Int) throws -> Results {
    var factor = a
    var solution = right(n)
    try factor.withUnsafeMutableBufferPointer {
      let base = try #require($0.baseAddress)
      #expect(try LinearAlgebra.factor(base, n: n, stride: n))
    }
    var inverse = factor
    try inverse.withUnsafeMutableBufferPointer {
      try LinearAlgebra.invertTriangle(try #require($0.baseAddress), n: n, stride: n)
    }
    try solution.withUnsafeMutableBufferPointer {
      try LinearAlgebra.solve(factor, n: n, rightHandSides: try #require($0.baseAddress), rows: 70)
    }
    var product = [Double](repeating: 0, count: 70 * n)
    try product.withUnsafeMutableBufferPointer {
      try LinearAlgebra.dgemm(
        right(n), .plain, stride: n, a, .plain, stride: n, into: try #require($0.baseAddress), stride: n, m: 70, n: n, k: n)
    }
    return Results(factor: factor, inverse: inverse, solution: solution, product: product)
  }

  @Test(arguments: [255, 256, 257, 700]) func large_factorSolveProduct_untiledLAPACK(n: Int) throws {
    let a = try LinearAlgebraTests.positive(n, seed: UInt64(n))
    let expected = try TiledLinearAlgebraTests.plain(a, n: n)
    let one = try TiledLinearAlgebraTests.tiled(a, n: n, threads: 1)
    for (found, wanted) in [
      (one.factor, expected.factor), (one.inverse, expected.inverse), (one.solution, expected.solution),
      (one.product, expected.product),
    ] {
      let scale = wanted.reduce(0) { max($0, abs($1)) }
      for (x, y) in zip(found, wanted) where abs(x - y) > 1e-10 * scale {
        Issue.record("\(x) is not \(y)")
        return
      }
    }
    let three = try TiledLinearAlgebraTests.tiled(a, n: n, threads: 3)
    #expect(three.factor == one.factor)
    #expect(three.inverse == one.inverse)
    #expect(three.solution == one.solution)
    #expect(three.product == one.product)
  }

  @Test(arguments: [1, 70, 300]) func rows_quadraticForms_sumsOverBothIndices(n: Int) throws {
    let a = try LinearAlgebraTests.positive(n, seed: 5)
    let w = TiledLinearAlgebraTests.right(n)
    // Above the diagonal nothing is read.
    let lower = a.indices.map { $0 % n > $0 / n ? .nan : a[$0] }
    let found = try LinearAlgebra.quadraticForms(w, lower, rows: 70, n: n)
    for row in 0..<70 {
      var sum = 0.0
      for i in 0..<n { for j in 0..<n { sum += w[row * n + i] * a[i * n + j] * w[row * n + j] } }
      #expect(abs(found[row] - sum) <= 1e-11 * abs(sum))
    }
    #expect(try LinearAlgebra.quadraticForms(w, lower, rows: 70, n: n, workers: Workers(threads: 3)) == found)
    #expect(try LinearAlgebra.quadraticForms([], a, rows: 0, n: n) == [])
    #expect(throws: CetError.self) { try LinearAlgebra.quadraticForms(w, [], rows: 70, n: n) }
  }

  @Test func indefiniteInALaterTile_cholesky_false() throws {
    let n = 600
    var a = try LinearAlgebraTests.positive(n, seed: 3)
    a[550 * n + 550] = -1
    let done = try a.withUnsafeMutableBufferPointer {
      try LinearAlgebra.choleskyInPlace(try #require($0.baseAddress), n: n, workers: Workers(threads: 2))
    }
    #expect(!done)
  }
}
