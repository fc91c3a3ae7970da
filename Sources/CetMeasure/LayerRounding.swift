import CetLayers
import CetQuantize
import CetTensor

/// One layer ready to be rounded at any width: its matrix, and the factored input covariance of every group.
public struct LayerRounding {
  private let index: Int
  private let bound: BoundModel
  private let view: WeightView
  private let statistics: InputStatistics?
  private let factors: [CurvatureFactor]

  /// The factored covariance of every group, for all layers that share the statistics.
  public static func factors(_ statistics: InputStatistics, workers: Workers) throws -> [CurvatureFactor] {
    try statistics.groups.map {
      try CurvatureFactor($0.covariance, columns: $0.mean.count, patches: $0.count, workers)
    }
  }

  /// - Parameter statistics: nil for rounding without them.
  public init(_ bound: BoundModel, _ index: Int, _ statistics: InputStatistics?, _ factors: [CurvatureFactor] = []) throws {
    self.bound = bound
    self.index = index
    self.statistics = statistics
    let layer = bound.layers[index]
    do {
      view = try WeightView(name: layer.name, shape: layer.shape, axis: layer.axis, bound.weightValues(layer))
      self.factors = factors
    } catch let error as CetError {
      throw error.at("initializer '\(layer.name)'")
    }
  }

  /// Steps 0 to 2 and 4: grid, GPTQ with coordinate descent, bias. Without statistics Step 0 and nearest codes.
  public func quantized(bits: Int, form: GridForm, effort: RoundingEffort = .usual) throws -> QuantizedLayer {
    let layer = bound.layers[index]
    do {
      let matrix = try layer.rounded(view.matrix, bits: bits, form: form, factors: factors, effort: effort, bound.workers)
      return QuantizedLayer(
        tensor: try view.assembled(matrix), bias: factors.isEmpty ? nil : try correctedBias(matrix))
    } catch let error as CetError {
      throw error.at("initializer '\(layer.name)'")
    }
  }

  /// b ← b − (Ŵ − W)μ: the mean of the output error goes to the bias.
  private func correctedBias(_ matrix: QuantizedMatrix) throws -> [Float]? {
    guard let statistics, let bias = try bound.biasValues(index) else { return nil }
    return bound.layers[index].corrected(
      bias, by: try OutputCorrection.bias(view.matrix, matrix, means: statistics.groups.map(\.mean)))
  }
}

extension CurvatureFactor {
  /// Of a layer's input covariance: damped by what so many patches leave unknown.
  convenience init(_ covariance: [Double], columns: Int, patches: Int, _ workers: Workers) throws {
    try self.init(
      covariance: covariance, dimension: columns,
      relativeDamping: SamplePolicy.relativeDamping(patches: patches, columns: columns), workers: workers)
  }
}

extension LinearLayer {
  /// Grid and codes of a matrix that stands for the weight; nearest codes without factors. Every value that the codes have
  /// is one that the file's type has.
  /// - Parameter scaling: changes scales of the matrix over 2^exponent.
  func rounded(
    _ weights: WeightMatrix, bits: Int, form: GridForm, factors: [CurvatureFactor], effort: RoundingEffort, _ workers: Workers,
    scaling: (inout QuantizedMatrix, _ exponent: Int) throws -> Void = { _, _ in }
  ) throws -> QuantizedMatrix {
    let (weights, exponent) = try weights.normalized()
    let grid = try ScaleSearch.search(
      weights, bits: bits, granularity: form.granularity, zeroUnit: form.zeroUnit(bits: bits), workers: workers)
    var matrix =
      factors.isEmpty
      ? try MatrixRounding.nearest(weights, grid: grid)
      : try MatrixRounding.gptq(weights, grid: grid, factors: factors, options: effort.options(weights), workers: workers).matrix
    try scaling(&matrix, exponent)
    matrix.scale(byPowerOfTwo: exponent)
    matrix.limit(to: elementType.largestFinite)
    return matrix
  }

  /// A bias with shifts added, without values that its type in the file does not have.
  func corrected(_ bias: [Float], by shifts: [Double]) -> [Float] {
    let largest = biasType.largestFinite
    return zip(bias, shifts).map { min(max(Float(Double($0) + $1), -largest), largest) }
  }
}

extension ElementType {
  /// The largest number of a type of weights.
  var largestFinite: Float {
    switch self {
    case .float16: 65504
    case .bfloat16: Float(bitPattern: 0x7F7F_0000)
    default: .greatestFiniteMagnitude
    }
  }
}
