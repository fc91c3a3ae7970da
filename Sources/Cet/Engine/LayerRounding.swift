import CetQuantize
import CetTensor

/// One layer ready to be rounded at any width: its matrix, and the factored input covariance of every group.
struct LayerRounding {
  private let index: Int
  private let engine: Engine
  private let view: WeightView
  private let statistics: InputStatistics?
  private let factors: [CurvatureFactor]

  /// The factored covariance of every group, for all layers that share the statistics.
  static func factors(_ statistics: InputStatistics, workers: Workers) throws -> [CurvatureFactor] {
    try statistics.groups.map { group in
      try CurvatureFactor(
        covariance: group.covariance, dimension: group.mean.count,
        relativeDamping: damping(patches: group.count, columns: group.mean.count), workers: workers)
    }
  }

  /// - Parameter statistics: nil for rounding without them.
  init(_ engine: Engine, _ index: Int, _ statistics: InputStatistics?, _ factors: [CurvatureFactor] = []) throws {
    self.engine = engine
    self.index = index
    self.statistics = statistics
    let layer = engine.layers[index]
    do {
      view = try WeightView(layer, engine.weightValues(layer))
      self.factors = factors
    } catch let error as CetError {
      throw error.at("initializer '\(layer.name)'")
    }
  }

  /// λ relative to the mean input variance. Fewer patches than unknowns leave directions that no patch has shown:
  /// they get more.
  static func damping(patches: Int, columns: Int) -> Double { patches < 4 * columns ? 0.05 : 0.03 }

  /// Steps 0 to 2 and 4: grid, GPTQ with coordinate descent, bias. Without statistics Step 0 and nearest codes.
  func quantized(bits: Int, form: GridForm, effort: RoundingEffort = .usual) throws -> QuantizedLayer {
    let layer = engine.layers[index]
    do {
      let grid = try ScaleSearch.search(
        view.matrix, bits: bits, granularity: form.granularity.ofMatrix,
        zeroUnit: form.zeroUnit(bits: bits), workers: engine.workers)
      guard !factors.isEmpty else {
        return QuantizedLayer(
          tensor: try view.assembled(CetQuantize.Rounding.nearest(view.matrix, grid: grid)), bias: nil)
      }
      let rounded = try CetQuantize.Rounding.gptq(view.matrix, grid: grid, factors: factors, options: effort.options(view.matrix), workers: engine.workers)
      return QuantizedLayer(
        tensor: try view.assembled(rounded.matrix), bias: try correctedBias(rounded.matrix.dequantize()))
    } catch let error as CetError {
      throw error.at("initializer '\(layer.name)'")
    }
  }

  /// b ← b − (Ŵ − W)μ: the mean of the output error goes to the bias.
  private func correctedBias(_ quantized: [Float]) throws -> [Float]? {
    guard var bias = try engine.biasValues(index), let statistics else { return nil }
    let (rows, columns) = (view.matrix.rows, view.matrix.columns)
    let rowsPerGroup = rows / max(1, statistics.groups.count)
    for row in 0..<rows {
      let mean = statistics.groups[row / max(1, rowsPerGroup)].mean
      var shift = 0.0
      for j in 0..<columns {
        shift += (Double(quantized[row * columns + j]) - Double(view.matrix.values[row * columns + j])) * mean[j]
      }
      bias[row] = Float(Double(bias[row]) - shift)
    }
    return bias
  }
}

extension Granularity {
  var ofMatrix: CetQuantize.Granularity {
    switch self {
    case .perTensor: .perTensor
    case .perAxis: .perAxis
    case .block(let size): .blocked(size: size)
    }
  }
}

/// How hard codes are searched for.
enum RoundingEffort: Sendable {
  /// Where many versions of a layer are compared.
  case usual
  /// For the codes that are written.
  case thorough

  /// Random moves of a whole tensor, in weights times moves; 512 a row suffice.
  private static let work = 1 << 25

  func options(_ weights: WeightMatrix) -> RoundingOptions {
    switch self {
    case .usual: RoundingOptions()
    case .thorough: RoundingOptions(kicks: min(512, RoundingEffort.work / max(1, weights.rows * weights.columns)))
    }
  }
}
