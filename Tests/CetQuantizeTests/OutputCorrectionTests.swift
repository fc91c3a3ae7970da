import CetTensor
import Testing

@testable import CetQuantize

@Suite struct OutputCorrectionTests {
  /// Inputs of the fp32 network and of the partly quantized one, and a residual operand of both.
  struct Layer {
    let rows = 5
    let n = 12
    let count = 900
    let weights: WeightMatrix
    let full: [Float]
    let quantized: [Float]
    var cq: [Double] = []
    var m: [Double] = []
    var s: [Double] = []
    var residual: [Float] = []  // r_f − r_q

    init(seed: UInt64) throws {
      weights = try Problems.weights(rows: rows, columns: n, seed: seed)
      full = Problems.patches(rows: count, columns: n, seed: seed + 1, mean: 0.5)
      var random = Random(seed: seed + 2)
      quantized = full.map { 0.9 * $0 + 0.2 * Float(random.normal()) + 0.1 }
      for i in 0..<count {
        for o in 0..<rows { residual.append(0.3 * quantized[i * n + o] + 0.05 * Float(random.normal())) }
      }
      var moment = try SecondMoment(dimension: n)
      var cross = try CrossMoment(left: n, right: n)
      var extra = try CrossMoment(left: rows, right: n)
      try moment.add(quantized, rows: count)
      try cross.add(full, quantized, rows: count)
      try extra.add(residual, quantized, rows: count)
      cq = try moment.covariance()
      m = try cross.covariance()
      s = try extra.covariance()
    }

    /// Mean over patches and rows of the squared centred error of T p_q against W p_f + (r_f − r_q).
    func loss(_ target: [Float]) -> Double {
      var total = 0.0
      for o in 0..<rows {
        var (sum, squares) = (0.0, 0.0)
        for i in 0..<count {
          var e = Double(residual[i * rows + o])
          for j in 0..<n {
            e += Double(weights.values[o * n + j] * full[i * n + j] - target[o * n + j] * quantized[i * n + j])
          }
          sum += e
          squares += e * e
        }
        total += squares / Double(count) - sum / Double(count) * sum / Double(count)
      }
      return total
    }
  }

  @Test func noRidge_target_isTheLeastSquaresMinimum() throws {
    let layer = try Layer(seed: 1)
    let target = try #require(
      try OutputCorrection.leastSquaresTarget(
        layer.weights, quantizedCovariance: layer.cq, crossCovariance: .inputs(layer.m), residualCovariance: layer.s,
        relativeRidge: 0, patches: layer.count))
    let least = layer.loss(target.values)
    #expect(least < 0.3 * layer.loss(layer.weights.values))
    var random = Random(seed: 9)
    for _ in 0..<20 {
      let moved = target.values.map { $0 + 0.002 * Float(random.normal()) }
      #expect(layer.loss(moved) > least)
    }
  }

  /// Statistics of outputs say the same as those of inputs: target, bias and variances, whatever sizes of calls and parts.
  @Test func outputStatistics_targetBiasAndVariance_areThoseOfInputStatistics() throws {
    let layer = try Layer(seed: 8)
    let (rows, n) = (layer.rows, layer.n)
    let made = (0..<900).flatMap { patch in
      (0..<rows).map { row in (0..<n).reduce(Float(0)) { $0 + layer.weights.values[row * n + $1] * layer.full[patch * n + $1] } }
    }
    func moment(_ calls: Range<Int>...) throws -> CrossMoment {
      var moment = try CrossMoment(left: rows, right: n, needsLeftVariance: true)
      for call in calls {
        try moment.add(
          Array(made[(call.lowerBound * rows)..<(call.upperBound * rows)]),
          Array(layer.quantized[(call.lowerBound * n)..<(call.upperBound * n)]), rows: call.count)
      }
      return moment
    }
    let whole = try moment(0..<900)
    let pieces = try moment(0..<7, 7..<540, 540..<900)
    #expect(try whole.covariance() == pieces.covariance())
    #expect(try whole.leftVariance() == pieces.leftVariance())
    var merged = try moment(0..<300)
    try merged.merge(moment(300..<900))
    var inputs = try SecondMoment(dimension: n)
    try inputs.add(layer.full, rows: layer.count)
    func near(_ a: [Double], _ b: [Double]) -> Bool { a.count == b.count && zip(a, b).allSatisfy { abs($0 - $1) < 1e-5 * max(1, abs($1)) } }
    let variance = try OutputCorrection.variance(layer.weights, reference: .inputs(inputs.covariance()))
    let target = try #require(
      try OutputCorrection.leastSquaresTarget(
        layer.weights, quantizedCovariance: layer.cq, crossCovariance: .inputs(layer.m), residualCovariance: layer.s,
        relativeRidge: 0.05, patches: layer.count))
    let matrix = try MatrixRounding.nearest(
      layer.weights, grid: ScaleSearch.search(layer.weights, bits: 2, granularity: .perAxis))
    let mean = try inputs.mean()
    let bias = try OutputCorrection.bias(layer.weights, matrix, means: [.init(full: .inputs(mean), quantized: mean)])
    for found in [whole, merged] {
      #expect(near(try found.leftVariance(), variance))
      let same = try OutputCorrection.leastSquaresTarget(
        layer.weights, quantizedCovariance: layer.cq, crossCovariance: .outputs(found.covariance()), residualCovariance: layer.s,
        relativeRidge: 0.05, patches: layer.count)
      #expect(near(try #require(same).values.map(Double.init), target.values.map(Double.init)))
      #expect(near(try OutputCorrection.bias(layer.weights, matrix, means: [.init(full: .outputs(found.leftMean()), quantized: mean)]), bias))
    }
    #expect(throws: CetError.self) {
      try OutputCorrection.leastSquaresTarget(
        layer.weights, quantizedCovariance: layer.cq, crossCovariance: .outputs(layer.m), residualCovariance: nil, relativeRidge: 0,
        patches: layer.count)
    }
    #expect(throws: CetError.self) {
      try OutputCorrection.bias(layer.weights, matrix, means: [.init(full: .outputs(mean), quantized: mean)])
    }
  }

  @Test func sameInputs_target_isW() throws {
    let layer = try Layer(seed: 2)
    let target = try #require(
      try OutputCorrection.leastSquaresTarget(
        layer.weights, quantizedCovariance: layer.cq, crossCovariance: .inputs(layer.cq), residualCovariance: nil,
        relativeRidge: 0.05, patches: layer.count))
    #expect(target.values == layer.weights.values)
  }

  @Test func fewPatches_target_nil() throws {
    let layer = try Layer(seed: 3)
    #expect(
      try OutputCorrection.leastSquaresTarget(
        layer.weights, quantizedCovariance: layer.cq, crossCovariance: .inputs(layer.m), residualCovariance: nil,
        relativeRidge: 0.05, patches: 5) == nil)
    let zero = [Double](repeating: 0, count: 144)
    #expect(
      try OutputCorrection.leastSquaresTarget(
        layer.weights, quantizedCovariance: zero, crossCovariance: .inputs(zero), residualCovariance: nil, relativeRidge: 0.05,
        patches: 900) == nil)
  }

  @Test func patchesBelowTwiceTheColumns_target_hasAGrownRidge() throws {
    let layer = try Layer(seed: 3)
    func target(ridge: Double, patches: Int) throws -> [Float]? {
      try OutputCorrection.leastSquaresTarget(
        layer.weights, quantizedCovariance: layer.cq, crossCovariance: .inputs(layer.m), residualCovariance: nil,
        relativeRidge: ridge, patches: patches)?.values
    }
    #expect(try target(ridge: 0.05, patches: 8) == target(ridge: 0.15, patches: 24))
    #expect(try target(ridge: 0.05, patches: 24) == target(ridge: 0.05, patches: 900))
    #expect(try target(ridge: 0.05, patches: 8) != target(ridge: 0.05, patches: 24))
  }

  @Test func nanCovariance_target_throwsNumeric() throws {
    let layer = try Layer(seed: 4)
    var bad = layer.cq
    bad[5] = .nan
    do {
      _ = try OutputCorrection.leastSquaresTarget(
        layer.weights, quantizedCovariance: bad, crossCovariance: .inputs(layer.m), residualCovariance: nil, relativeRidge: 0.05,
        patches: 900)
      Issue.record("no error")
    } catch { #expect(error.code == .numeric) }
  }

  @Test func singularCovariance_target_finite() throws {
    let layer = try Layer(seed: 5)
    let ones = [Double](repeating: 1, count: 144)
    let target = try OutputCorrection.leastSquaresTarget(
      layer.weights, quantizedCovariance: ones, crossCovariance: .inputs(ones.map { $0 * 1.1 }), residualCovariance: nil,
      relativeRidge: 0, patches: 900)
    #expect(target?.values.allSatisfy { $0.isFinite } == true)
  }

  @Test func means_bias_restoresTheOutputMean() throws {
    let layer = try Layer(seed: 6)
    let (rows, n) = (layer.rows, layer.n)
    let matrix = try MatrixRounding.nearest(
      layer.weights, grid: ScaleSearch.search(layer.weights, bits: 2, granularity: .perAxis))
    let values = matrix.dequantize()
    var (f, q, r) = (try SecondMoment(dimension: n), try SecondMoment(dimension: n), try SecondMoment(dimension: rows))
    try f.add(layer.full, rows: layer.count)
    try q.add(layer.quantized, rows: layer.count)
    try r.add(layer.residual, rows: layer.count)
    let (mean, quantizedMean, residualMean) = (try f.mean(), try q.mean(), try r.mean())
    let plain = try OutputCorrection.bias(layer.weights, matrix, means: [mean])
    let sequential = try OutputCorrection.bias(
      layer.weights, matrix, means: [.init(full: .inputs(mean), quantized: quantizedMean, residual: residualMean)])
    for o in 0..<rows {
      var (a, b) = (plain[o], sequential[o])
      for j in 0..<n {
        let (w, v) = (Double(layer.weights.values[o * n + j]), Double(values[o * n + j]))
        a += (v - w) * mean[j]
        b += v * quantizedMean[j] - w * mean[j]
      }
      #expect(abs(a) < 1e-9)
      #expect(abs(b - residualMean[o]) < 1e-9)
    }
    #expect(throws: CetError.self) { try OutputCorrection.bias(layer.weights, matrix, means: [[1]]) }
    #expect(throws: CetError.self) { try OutputCorrection.bias(layer.weights, matrix, means: [mean, mean]) }
  }

  /// Every group of rows has its own means.
  @Test func groups_bias_isThatOfEachGroupAlone() throws {
    let weights = try Problems.weights(rows: 6, columns: 4, seed: 3)
    let matrix = try MatrixRounding.nearest(weights, grid: ScaleSearch.search(weights, bits: 2, granularity: .perAxis))
    let (a, b) = ([1, 2, 3, 4.0], [-1, 0.5, 0, 2.0])
    let together = try OutputCorrection.bias(weights, matrix, means: [a, b])
    #expect(together[..<3] == (try OutputCorrection.bias(weights, matrix, means: [a]))[..<3])
    #expect(together[3...] == (try OutputCorrection.bias(weights, matrix, means: [b]))[3...])
  }

  @Test func variances_factors_matchedAndClamped() throws {
    let factors = try OutputCorrection.varianceFactors(reference: [1.21, 1, 100, 0, 1], quantized: [1, 4, 1, 1, 0])
    #expect(factors == [1.1, 0.8, 1.25, 1, 1])
    #expect(try OutputCorrection.varianceFactors(reference: [2, 2], quantized: [1, 3], granularity: .perTensor) == [1, 1])
    #expect(throws: CetError.self) { try OutputCorrection.varianceFactors(reference: [.nan], quantized: [1]) }
    let layer = try Layer(seed: 7)
    let matrix = try MatrixRounding.nearest(
      layer.weights, grid: ScaleSearch.search(layer.weights, bits: 3, granularity: .perAxis))
    var matched = matrix
    let reference = try OutputCorrection.variance(layer.weights.values, rows: layer.rows, covariance: layer.cq)
    let before = try OutputCorrection.variance(matrix.dequantize(), rows: layer.rows, covariance: layer.cq)
    try matched.scaleRows(by: OutputCorrection.varianceFactors(reference: reference, quantized: before))
    let after = try OutputCorrection.variance(matched.dequantize(), rows: layer.rows, covariance: layer.cq)
    for (x, y) in zip(after, reference) { #expect(abs(x - y) < 1e-4 * y) }
  }
}
