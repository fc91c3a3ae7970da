import CetQuantize
import CetTensor

/// Statistics of one layer's inputs in the unquantized (f) and in the partly quantized network (q), and of the
/// residual that its output is added to.
struct PairedStatistics: Sendable {
  struct Group: Sendable {
    let meanF: [Double]
    let meanQ: [Double]
    /// Cov(p_f) (empty where no variance is matched) and Cov(p_q), K × K.
    let covarianceF: [Double]
    let covariance: [Double]
    /// Cov(p_f, p_q), K × K.
    let cross: [Double]
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
  /// nil where no variance is matched.
  var f: SecondMoment?
  var q: SecondMoment
  var cross: CrossMoment
  var residual: CrossMoment?

  init(columns: Int, rows: Int?, needsVariance: Bool) throws(CetError) {
    f = needsVariance ? try SecondMoment(dimension: columns) : nil
    q = try SecondMoment(dimension: columns)
    cross = try CrossMoment(left: columns, right: columns)
    residual = try rows.map { rows throws(CetError) in try CrossMoment(left: rows, right: columns) }
  }

  /// Adds patches of both networks' inputs.
  mutating func add(_ inputs: [UnsafePointer<Float>], rows: Int) throws(CetError) {
    try f?.add(inputs[0], rows: rows)
    try q.add(inputs[1], rows: rows)
    try cross.add(inputs[0], inputs[1], rows: rows)
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

  func statistics(_ order: [Int]) throws(CetError) -> PairedStatistics.Group {
    let k = q.dimension
    func vector(_ x: [Double]) -> [Double] {
      var result = x
      for (from, to) in order.enumerated() { result[to] = x[from] }
      return result
    }
    /// Columns in the order of the weights; rows too when `both`.
    func matrix(_ x: [Double], rows: Int, both: Bool) -> [Double] {
      [Double](unsafeUninitializedCapacity: rows * k) { target, filled in
        for i in 0..<rows {
          let row = both ? order[i] : i
          for (j, to) in order.enumerated() { target[row * k + to] = x[i * k + j] }
        }
        filled = rows * k
      }
    }
    let rows = try residual?.leftMean().count ?? 0
    return PairedStatistics.Group(
      meanF: vector(try cross.leftMean()), meanQ: vector(try q.mean()),
      covarianceF: try f.map { f throws(CetError) in matrix(try f.covariance(), rows: k, both: true) } ?? [],
      covariance: matrix(try q.covariance(), rows: k, both: true),
      cross: matrix(try cross.covariance(), rows: k, both: true),
      residual: try residual.map { x throws(CetError) in matrix(try x.covariance(), rows: rows, both: false) } ?? [],
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
          meanF: cross.leftMean($0), meanQ: q.rightMean($0), covarianceF: f?.covariance($0) ?? [],
          covariance: q.covariance($0), cross: cross.covariance($0), residual: [], residualMean: [], count: q.count)
      })
  }
}
