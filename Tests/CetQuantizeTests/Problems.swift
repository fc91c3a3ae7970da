import CetTensor

@testable import CetQuantize

/// Random layers and plain double precision references for the tests.
enum Problems {
  /// Patches p = A u with correlated columns, of uneven size when `spread` is above 1.
  static func patches(rows: Int, columns: Int, seed: UInt64, mean: Double = 0, spread: Double = 3) -> [Float] {
    var random = Random(seed: seed)
    let factors = max(2, columns / 4)
    let mix = (0..<(columns * factors)).map { _ in random.normal() }
    let size = (0..<columns).map { _ in 1 + (spread - 1) * random.uniform() }
    var result: [Float] = []
    result.reserveCapacity(rows * columns)
    for _ in 0..<rows {
      let u = (0..<factors).map { _ in random.normal() }
      for j in 0..<columns {
        var value = 0.3 * random.normal()
        for k in 0..<factors { value += mix[j * factors + k] * u[k] / Double(factors).squareRoot() }
        result.append(Float(size[j] * value + mean))
      }
    }
    return result
  }

  static func weights(rows: Int, columns: Int, seed: UInt64) throws -> WeightMatrix {
    var random = Random(seed: seed)
    let values = (0..<rows).flatMap { _ -> [Float] in
      let size = 0.5 + random.uniform()
      return (0..<columns).map { _ in Float(0.1 * size * random.normal()) }
    }
    return try WeightMatrix(values, rows: rows, columns: columns)
  }

  /// Standard normal.
  static func normal(rows: Int, columns: Int, seed: UInt64) throws -> WeightMatrix {
    var random = Random(seed: seed)
    return try WeightMatrix((0..<(rows * columns)).map { _ in Float(random.normal()) }, rows: rows, columns: columns)
  }

  static func identity(_ n: Int) -> [Double] { (0..<(n * n)).map { $0 / n == $0 % n ? 1 : 0 } }

  static func covariance(columns: Int, samples: Int, seed: UInt64) throws -> [Double] {
    var moment = try SecondMoment(dimension: columns)
    try moment.add(patches(rows: samples, columns: columns, seed: seed), rows: samples)
    return try moment.covariance()
  }

  /// Per row d C dᵀ in double.
  static func errors(_ weights: WeightMatrix, _ matrix: QuantizedMatrix, _ c: [Double]) throws -> [Double] {
    let n = weights.columns
    let d = zip(matrix.dequantize(), weights.values).map { Double($0) - Double($1) }
    let dc = try LinearAlgebra.product(d, c, m: weights.rows, k: n, n: n)
    return (0..<weights.rows).map { row in
      (0..<n).reduce(0) { $0 + d[row * n + $1] * dc[row * n + $1] }
    }
  }

  static func damped(_ c: [Double], _ n: Int, _ relative: Double) -> [Double] {
    let mean = (0..<n).reduce(0) { $0 + c[$1 * n + $1] } / Double(n)
    var result = c
    for i in 0..<n { result[i * n + i] += relative * mean }
    return result
  }
}
