import CetAutodiff
import CetGraph
import CetLayers
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
private struct PairedMoments {
  /// nil where no variance is matched.
  var f: SecondMoment?
  var q: SecondMoment
  var cross: CrossMoment
  var residual: CrossMoment?

  init(columns: Int, rows: Int?, needsVariance: Bool) throws {
    f = needsVariance ? try SecondMoment(dimension: columns) : nil
    q = try SecondMoment(dimension: columns)
    cross = try CrossMoment(left: columns, right: columns)
    residual = try rows.map { try CrossMoment(left: $0, right: columns) }
  }

  mutating func merge(_ other: PairedMoments) throws {
    if let part = other.f { try f?.merge(part) }
    try q.merge(other.q)
    try cross.merge(other.cross)
    if let part = other.residual { try residual?.merge(part) }
  }

  mutating func flush() throws {
    try f?.flush()
    try q.flush()
    try cross.flush()
    try residual?.flush()
  }

  func statistics(_ order: [Int]) throws -> PairedStatistics.Group {
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
      covarianceF: try f.map { matrix(try $0.covariance(), rows: k, both: true) } ?? [],
      covariance: matrix(try q.covariance(), rows: k, both: true),
      cross: matrix(try cross.covariance(), rows: k, both: true),
      residual: try residual.map { matrix(try $0.covariance(), rows: rows, both: false) } ?? [],
      residualMean: try residual?.leftMean() ?? [], count: q.count)
  }
}

/// The same of all groups of a depthwise convolution.
private struct DepthwiseMoments {
  var f: ChannelMoment?
  var q: ChannelMoment
  var cross: ChannelMoment

  init(columns: Int, groups: Int, needsVariance: Bool) throws {
    f = needsVariance ? try ChannelMoment(dimension: columns, channels: groups, symmetric: true) : nil
    q = try ChannelMoment(dimension: columns, channels: groups, symmetric: true)
    cross = try ChannelMoment(dimension: columns, channels: groups, symmetric: false)
  }

  mutating func add(_ inputs: [UnsafePointer<Float>], rows: Int) throws {
    try f?.add(inputs[0], rows: rows)
    try q.add(inputs[1], rows: rows)
    try cross.add(inputs[0], inputs[1], rows: rows)
  }

  mutating func merge(_ other: DepthwiseMoments) throws {
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

extension Engine {
  /// Statistics of layer `index` at the cursors' place.
  /// - Parameter needsVariance: whether the covariance of the unquantized network's inputs is asked for.
  func pairedStatistics(
    _ index: Int, _ batches: [FittingBatch], fp32: [ForwardCursor], quantized: [ForwardCursor],
    needsVariance: Bool
  ) throws -> PairedStatistics {
    let layer = layers[index]
    let name = layer.input ?? ""
    let residual = residual(of: index)
    if residual == nil, layer.isDepthwise {
      return try depthwiseStatistics(index, batches, fp32: fp32, quantized: quantized, needsVariance: needsVariance)
    }
    let groups = layer.groups
    let rows = layer.channels / groups
    let samples = batches.reduce(0) { $0 + $1.sampleCount }
    let node = layer.node
    var sums: [PairedMoments] = []
    var order: [Int] = []
    do {
      let reaching = try fp32.indices.filter { try reached(batches[$0].batch).contains(index) }
      let parts = Engine.parts(reaching.count, columns: layer.columns)
      try workers.ordered(parts.count) { [self] part in
        var found: [PairedMoments] = []
        var firstOrder: [Int] = []
        for position in reaching[parts[part]] {
          let f = try fp32[position].value(name)
          let q = try quantized[position].value(name)
          // Both runs pass the residual at the same step, or neither has.
          var difference: Tensor?
          if let residual, let rf = fp32[position].passed(residual.name), let rq = quantized[position].passed(residual.name) {
            difference = try residualDifference(
              rf, rq, layer, patches: Patches.count(layer, node, input: f), slopes: residual.slopes)
          }
          let step = try patchStep(index, f, batches[position], samples: samples)
          let kept = batches[position].rows[index]
          for group in 0..<groups {
            let patches = try Patches(layer, node, input: f, group: group, step: step, kept: kept)
            if found.count == group {
              firstOrder = patches.order
              found.append(
                try PairedMoments(columns: patches.columns, rows: difference == nil ? nil : rows, needsVariance: needsVariance))
            }
            try patches.forEach([f, q], context) { inputs, numbers in
              try found[group].f?.add(inputs[0], rows: numbers.count)
              try found[group].q.add(inputs[1], rows: numbers.count)
              try found[group].cross.add(inputs[0], inputs[1], rows: numbers.count)
              if let difference {
                let picked = try Tensor(uninitialized: .float32, [numbers.count, rows], arena: context.arena)
                for (row, number) in numbers.enumerated() {
                  (picked.floats + row * rows)
                    .update(from: difference.floats + number * layer.channels + group * rows, count: rows)
                }
                try withExtendedLifetime((picked, difference)) {
                  try found[group].residual?.add(picked.floats, inputs[1], rows: numbers.count)
                }
              }
            }
          }
        }
        for group in found.indices { try found[group].flush() }
        return (found, firstOrder)
      } combine: { _, part in
        if sums.isEmpty {
          (sums, order) = part
        } else {
          for group in sums.indices { try sums[group].merge(part.0[group]) }
        }
      }
    } catch let error as CetError {
      throw error.at("initializer '\(layer.name)'")
    }
    return PairedStatistics(groups: try sums.map { try $0.statistics(order) })
  }

  private func depthwiseStatistics(
    _ index: Int, _ batches: [FittingBatch], fp32: [ForwardCursor], quantized: [ForwardCursor], needsVariance: Bool
  ) throws -> PairedStatistics {
    let layer = layers[index]
    let (name, columns, groups) = (layer.input ?? "", layer.columns, layer.groups)
    let samples = batches.reduce(0) { $0 + $1.sampleCount }
    var sums = try DepthwiseMoments(columns: columns, groups: groups, needsVariance: needsVariance)
    do {
      let reaching = try fp32.indices.filter { try reached(batches[$0].batch).contains(index) }
      let parts = Engine.parts(reaching.count, columns: columns)
      try workers.ordered(parts.count) { [self] part in
        var found = try DepthwiseMoments(columns: columns, groups: groups, needsVariance: needsVariance)
        for position in reaching[parts[part]] {
          let (f, q) = (try fp32[position].value(name), try quantized[position].value(name))
          let step = try patchStep(index, f, batches[position], samples: samples)
          let patches = try Patches(layer, layer.node, input: f, group: nil, step: step, kept: nil)
          try patches.forEach([f, q], context) { try found.add($0, rows: $1.count) }
        }
        return found
      } combine: { try sums.merge($1) }
    } catch let error as CetError {
      throw error.at("initializer '\(layer.name)'")
    }
    return sums.statistics
  }

  /// r_f − r_q as rows of output channels, one row a patch; nil when the shapes are not those of the output (a
  /// residual that is broadcast over samples or positions). In units of the layer's output: divided by `slopes`.
  private func residualDifference(
    _ f: Tensor, _ q: Tensor, _ layer: LinearLayer, patches: Int, slopes: [Float]
  ) throws -> Tensor? {
    guard f.type == .float32, f.shape == q.shape, f.count == patches * layer.channels else { return nil }
    let layout: Layout
    switch layer.kind {
    case .leftMatrix: return nil
    case .convolution, .transposedConvolution:
      guard f.rank >= 3, f.shape[1] == layer.channels else { return nil }
      layout = .channelsLast
    default:
      guard f.shape.last == layer.channels else { return nil }
      layout = .rowMajor
    }
    let (a, b) = (try f.converted(to: layout, arena: context.arena), try q.converted(to: layout, arena: context.arena))
    let result = try Tensor(uninitialized: .float32, f.shape, layout: layout, arena: context.arena)
    withExtendedLifetime((a, b)) {
      Elementwise.apply(.subtract, a.floats, b.floats, into: result.floats, count: a.count)
    }
    if !slopes.isEmpty { for i in 0..<result.count { result.floats[i] /= slopes[i % slopes.count] } }
    return result
  }
}
