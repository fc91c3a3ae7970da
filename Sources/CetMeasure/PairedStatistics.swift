import CetQuantize
import CetTensor

/// Statistics of one layer's inputs in the unquantized (f) and in the partly quantized network (q), and of the
/// residual that its output is added to.
struct PairedStatistics: Sendable {
  struct Group: Sendable {
    /// E[p_f] or E[W p_f].
    let meanF: OutputCorrection.Reference
    let meanQ: [Double]
    /// Cov(p_f) or the variances of W p_f; nil where no variance is matched.
    let varianceF: OutputCorrection.Reference?
    /// Cov(p_q), K × K.
    let covariance: [Double]
    /// Cov(p_f, p_q) or Cov(W p_f, p_q).
    let cross: OutputCorrection.Reference
    /// Cov(r_f − r_q, p_q), rows × K; empty without a residual.
    let residual: [Double]
    /// E[r_f − r_q], rows; empty without a residual.
    let residualMean: [Double]
    let count: Int
  }
  let groups: [Group]
}

/// The running sums of one convolution group.
struct PairedMoments {
  /// What the unquantized network's sums are of.
  enum Operand {
    case inputs(needsVariance: Bool)
    /// Products with the weights over 2^exponent.
    case outputs(exponent: Int)
  }

  private let operand: Operand
  private var q: SecondMoment
  /// nil where no variance is matched, and where sums are of outputs.
  private var f: SecondMoment?
  private var cross: CrossMoment
  private var residual: CrossMoment?

  /// - Parameters:
  ///   - rows: of the weights.
  ///   - hasResidual: whether `addResidual` is going to be called.
  init(columns: Int, rows: Int, hasResidual: Bool, _ operand: Operand, _ arena: Arena) throws(CetError) {
    self.operand = operand
    q = try SecondMoment(dimension: columns, arena: arena)
    switch operand {
    case .inputs(let needsVariance):
      f = needsVariance ? try SecondMoment(dimension: columns, arena: arena) : nil
      cross = try CrossMoment(left: columns, right: columns, arena: arena)
    case .outputs: cross = try CrossMoment(left: rows, right: columns, needsLeftVariance: true, arena: arena)
    }
    residual = hasResidual ? try CrossMoment(left: rows, right: columns, arena: arena) : nil
  }

  /// Adds what the unquantized network has at some patches, inputs or outputs, with the patches of the other's inputs.
  mutating func add(_ unquantized: UnsafePointer<Float>, _ inputs: UnsafePointer<Float>, rows: Int) throws(CetError) {
    try f?.add(unquantized, rows: rows)
    try q.add(inputs, rows: rows)
    try cross.add(unquantized, inputs, rows: rows)
  }

  /// Adds r_f − r_q at patches of the quantized network's inputs.
  mutating func addResidual(_ difference: UnsafePointer<Float>, _ inputs: UnsafePointer<Float>, rows: Int) throws(CetError) {
    try residual?.add(difference, inputs, rows: rows)
  }

  mutating func merge(_ other: PairedMoments) throws(CetError) {
    if let part = other.f { try f?.merge(part) }
    try q.merge(other.q)
    try cross.merge(other.cross)
    if let part = other.residual { try residual?.merge(part) }
  }

  mutating func flush() throws(CetError) {
    try f?.flush()
    try q.flush()
    try cross.flush()
    try residual?.flush()
  }

  /// - Parameter order: of the entries of patches among those of weight rows.
  func statistics(_ order: [Int], _ workers: Workers) throws(CetError) -> PairedStatistics.Group {
    func vector(_ x: [Double]) -> [Double] {
      var result = x
      for (from, to) in order.enumerated() { result[to] = x[from] }
      return result
    }
    func scaled(_ x: [Double], by exponent: Int) -> [Double] {
      exponent == 0 ? x : x.map { Double(sign: .plus, exponent: exponent, significand: $0) }
    }
    let (meanF, varianceF, covariance): (OutputCorrection.Reference, OutputCorrection.Reference?, OutputCorrection.Reference)
    switch operand {
    case .inputs:
      meanF = .inputs(vector(try cross.leftMean()))
      varianceF = try f.map { f throws(CetError) in .inputs(try f.covariance(order: order, workers: workers)) }
      covariance = .inputs(try cross.covariance(rows: order, columns: order, workers: workers))
    case .outputs(let exponent):
      meanF = .outputs(scaled(try cross.leftMean(), by: exponent))
      varianceF = .outputs(scaled(try cross.leftVariance(), by: 2 * exponent))
      covariance = .outputs(scaled(try cross.covariance(columns: order, workers: workers), by: exponent))
    }
    return PairedStatistics.Group(
      meanF: meanF, meanQ: vector(try q.mean()), varianceF: varianceF,
      covariance: try q.covariance(order: order, workers: workers), cross: covariance,
      residual: try residual?.covariance(columns: order, workers: workers) ?? [],
      residualMean: try residual?.leftMean() ?? [], count: q.count)
  }
}

/// Moments of the patches of both networks, of all groups of a depthwise convolution.
struct DepthwiseMoments {
  var f: ChannelMoment?
  var q: ChannelMoment
  var cross: ChannelMoment

  init(columns: Int, groups: Int, needsVariance: Bool) throws(CetError) {
    f = needsVariance ? try ChannelMoment(dimension: columns, channels: groups, symmetric: true) : nil
    q = try ChannelMoment(dimension: columns, channels: groups, symmetric: true)
    cross = try ChannelMoment(dimension: columns, channels: groups, symmetric: false)
  }

  mutating func add(_ inputs: [UnsafePointer<Float>], rows: Int) throws(CetError) {
    try f?.add(inputs[0], rows: rows)
    try q.add(inputs[1], rows: rows)
    try cross.add(inputs[0], inputs[1], rows: rows)
  }

  mutating func merge(_ other: DepthwiseMoments) throws(CetError) {
    if let part = other.f { try f?.merge(part) }
    try q.merge(other.q)
    try cross.merge(other.cross)
  }

  var statistics: PairedStatistics {
    PairedStatistics(
      groups: (0..<q.channels).map {
        .init(
          meanF: .inputs(cross.leftMean($0)), meanQ: q.rightMean($0), varianceF: f.map { [channel = $0] in .inputs($0.covariance(channel)) },
          covariance: q.covariance($0), cross: .inputs(cross.covariance($0)), residual: [], residualMean: [], count: q.count)
      })
  }
}
