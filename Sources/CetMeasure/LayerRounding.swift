import CetLayers
import CetQuantize
import CetTensor

/// One layer ready to be rounded in any format: its matrix, and what its inputs are like.
public struct LayerRounding {
  private let index: Int
  private let bound: BoundModel
  private let view: WeightView
  private let statistics: InputStatistics?
  private let factors: InputFactors?

  /// - Parameters:
  ///   - statistics: nil for rounding without them.
  ///   - factors: of these statistics: one value for all layers that share them.
  public init(_ bound: BoundModel, _ index: Int, _ statistics: InputStatistics?, _ factors: InputFactors? = nil) throws(CetError) {
    self.bound = bound
    self.index = index
    self.statistics = statistics
    self.factors = factors
    let layer = bound.layers[index]
    do {
      view = try WeightView(name: layer.name, shape: layer.shape, axis: layer.axis, bound.weightValues(layer))
    } catch {
      throw error.at(.initializer(layer.name))
    }
  }

  /// Steps 0 to 2 and 4: codes fitted to the inputs, and bias. Without statistics the codes of least squared error.
  public func quantized(_ format: CodeFormat, rules: CodeRules, effort: RoundingEffort = RoundingEffort(.comparison)) throws(CetError) -> QuantizedLayer {
    let layer = bound.layers[index]
    do {
      let matrix = try layer.rounded(view.matrix, format, rules: rules, factors: factors, effort: effort, bound.workers)
      return QuantizedLayer(
        tensor: try view.assembled(matrix), bias: factors == nil ? nil : try correctedBias(matrix))
    } catch {
      throw error.at(.initializer(layer.name))
    }
  }

  /// The format of a width whose codes have less error.
  public func format(bits: Int, rules: CodeRules) throws(CetError) -> CodeFormat {
    let layer = bound.layers[index]
    do {
      let codings = rules.codings(bits: bits, columns: layer.columns)
      guard codings.count > 1 else { return CodeFormat(bits: bits, coding: codings.first ?? .affine) }
      let trial = CodingTrial(view.matrix, layer, factors, rules)
      return CodeFormat(bits: bits, coding: try trial.best(codings, bits: bits, bound.workers))
    } catch {
      throw error.at(.initializer(layer.name))
    }
  }

  /// b ← b − (Ŵ − W)μ: the mean of the output error goes to the bias.
  private func correctedBias(_ matrix: QuantizedMatrix) throws(CetError) -> [Float]? {
    guard let statistics, let bias = try bound.biasValues(index) else { return nil }
    return bound.layers[index].corrected(
      bias, by: try OutputCorrection.bias(view.matrix, matrix, means: statistics.groups.map(\.mean)))
  }
}

/// Compares codings of one width on some rows of a layer, which tell as much as all of them: rows all over it, each for those
/// around it, and the rows with the largest single weights, which lose the most where a coding cannot reach these.
private struct CodingTrial {
  private let layer: LinearLayer
  private let weights: WeightMatrix
  private let factors: InputFactors?
  private let rules: CodeRules

  /// Weights of a trial.
  private static let enough = 1 << 15
  /// Tensors of so few weights are compared as they are written: random moves gain most on them, and it costs little.
  private static let few = 1 << 11
  /// Rows with the largest single weights.
  private static let peaks = 8

  init(_ weights: WeightMatrix, _ layer: LinearLayer, _ factors: InputFactors?, _ rules: CodeRules) {
    self.layer = layer
    self.weights = weights
    self.factors = factors
    self.rules = rules
  }

  func best(_ codings: [Coding], bits: Int, _ workers: Workers) throws(CetError) -> Coding {
    let groups = factors == nil ? 1 : layer.groups
    let perGroup = weights.rows / groups
    // Whole groups where there are many, rows of each where there are few.
    let wanted = max(8, CodingTrial.enough / max(1, weights.columns))
    let groupStep = max(1, weights.rows / (wanted * max(1, perGroup)))
    let rowStep = groupStep > 1 || groups > 1 ? 1 : max(1, weights.rows / wanted)
    let picked = stride(from: 0, to: groups, by: groupStep).map { $0 }
    var rows = picked.flatMap { stride(from: $0 * perGroup, to: ($0 + 1) * perGroup, by: rowStep) }
    let even = rows.count
    if rowStep > 1 { rows += peakRows() }
    let values = rows.flatMap { weights.values[($0 * weights.columns)..<(($0 + 1) * weights.columns)] }
    let part = try WeightMatrix(values, rows: rows.count, columns: weights.columns).normalized().matrix
    let effort = RoundingEffort(weights.values.count <= CodingTrial.few ? .result : .comparison)
    var least = (error: Double.infinity, coding: codings[0])
    for coding in codings {
      let factors = try self.factors.map { all throws(CetError) in
        let factors = try all.factors(for: coding, layer.walk(rules))
        return picked.map { factors[$0] }
      }
      let errors = try layer.errors(part, CodeFormat(bits: bits, coding: coding), rules: rules, factors: factors, effort: effort, workers)
      let error = errors[..<even].reduce(0, +) * Double(rowStep) + errors[even...].reduce(0, +)
      if error < least.error { least = (error, coding) }
    }
    return least.coding
  }

  /// Of the largest weight over the root mean square; of equals the first.
  private func peakRows() -> [Int] {
    let ratios = (0..<weights.rows).map { row in
      let members = weights.values[(row * weights.columns)..<((row + 1) * weights.columns)]
      let (square, peak) = members.reduce((Float(0), Float(0))) { ($0.0 + $1 * $1, max($0.1, abs($1))) }
      return square > 0 ? peak * peak / square : 0
    }
    return Array(ratios.indices.sorted { (ratios[$0], $1) > (ratios[$1], $0) }.prefix(CodingTrial.peaks))
  }
}

extension LinearLayer {
  /// Codes of a matrix that stands for the weight. Every value that they have is one that the file's type has.
  /// - Parameters:
  ///   - factors: nil: the codes of least squared error.
  ///   - scaling: changes scales of the matrix over 2^exponent.
  func rounded(
    _ weights: WeightMatrix, _ format: CodeFormat, rules: CodeRules, factors: InputFactors?, effort: RoundingEffort,
    _ workers: Workers, scaling: (inout QuantizedMatrix, _ exponent: Int) throws(CetError) -> Void = { _, _ in }
  ) throws(CetError) -> QuantizedMatrix {
    let (weights, exponent) = weights.normalized()
    var matrix = try coded(
      weights, format, rules: rules, factors: factors?.factors(for: format.coding, walk(rules)), effort: effort, workers
    ).matrix
    try scaling(&matrix, exponent)
    matrix.scale(byPowerOfTwo: exponent)
    matrix.limit(to: elementType.largestFinite)
    if rules.hasNarrowScales(name, bits: format.bits) { matrix.narrowScales(largest: elementType.largestFinite) }
    return matrix
  }

  /// d H dᵀ of every row of a normalized matrix.
  fileprivate func errors(
    _ weights: WeightMatrix, _ format: CodeFormat, rules: CodeRules, factors: [CurvatureFactor]?, effort: RoundingEffort,
    _ workers: Workers
  ) throws(CetError) -> [Double] {
    try coded(weights, format, rules: rules, factors: factors, effort: effort, workers).rowErrors
  }

  /// A row's way through a trellis.
  fileprivate func walk(_ rules: CodeRules) -> TrellisWalk {
    TrellisWalk(shape, axis: axis, blockSize: rules.granularity.blockSize)
  }

  private func coded(
    _ weights: WeightMatrix, _ format: CodeFormat, rules: CodeRules, factors: [CurvatureFactor]?, effort: RoundingEffort,
    _ workers: Workers
  ) throws(CetError) -> RoundedMatrix {
    switch format.coding {
    case .affine, .symmetric:
      let grid = try ScaleSearch.search(
        weights, bits: format.bits, granularity: rules.granularity(columns: weights.columns), zeroUnit: rules.zeroUnit(bits: format.bits),
        isSymmetric: format.coding == .symmetric, workers: workers)
      guard let factors else { return try MatrixRounding.nearestWithErrors(weights, grid: grid, coding: format.coding) }
      return try MatrixRounding.gptq(
        weights, grid: grid, coding: format.coding, factors: factors, options: effort.options(weights), workers: workers)
    case .trellis(let code):
      return try MatrixRounding.trellis(
        weights, bits: format.bits, code: code, granularity: rules.granularity(columns: weights.columns),
        factors: factors.or([CurvatureFactor(identity: weights.columns, walk: walk(rules))]), options: effort.trellisOptions(weights), workers: workers)
    }
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
