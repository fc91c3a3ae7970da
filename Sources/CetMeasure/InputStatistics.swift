import CetLayers
import CetQuantize
import CetTensor

/// Mean and centred covariance of a layer's input patches, one entry a convolution group; in the order of the
/// weight rows' entries.
public struct InputStatistics: Sendable {
  public struct Group: Sendable {
    public let mean: [Double]
    /// K × K row-major; centred when the bias can absorb the mean, else E[p pᵀ].
    public let covariance: [Double]
    /// Patches that were seen.
    public let count: Int
  }
  public let groups: [Group]

  init(_ moments: Moments, _ layer: LinearLayer, centred: Bool, _ workers: Workers) throws(CetError) {
    let order = moments.order
    if case .blocks(let names) = layer.kind {
      groups = try names.map { block throws(CetError) in try InputStatistics.group(block.compactMap { moments.byName[$0] }) }
      return
    }
    if let moment = moments.depthwise {
      groups = (0..<moment.channels).map {
        Group(mean: moment.rightMean($0), covariance: moment.covariance($0, centred: centred), count: moment.count)
      }
      return
    }
    groups = try moments.groups.map { moment throws(CetError) in
      let covariance = try moment.covariance(centred: centred, order: order, workers: workers)
      let mean = try moment.mean()
      var sorted = mean
      for (from, to) in order.enumerated() { sorted[to] = mean[from] }
      return Group(mean: sorted, covariance: covariance, count: moment.count)
    }
  }

  /// Blocks see each other's inputs in no product: their covariance is zero.
  private static func group(_ blocks: [SecondMoment]) throws(CetError) -> Group {
    let columns = blocks.reduce(0) { $0 + $1.dimension }
    var mean: [Double] = []
    var covariance = [Double](repeating: 0, count: columns * columns)
    for block in blocks {
      let (k, first) = (block.dimension, mean.count)
      let values = try block.covariance(centred: false)
      for i in 0..<k { for j in 0..<k { covariance[(first + i) * columns + first + j] = values[i * k + j] } }
      mean += try block.mean()
    }
    return Group(mean: mean, covariance: covariance, count: blocks.map(\.count).min() ?? 0)
  }

  /// What is gathered for one layer.
  struct Moments {
    /// One a convolution group.
    var groups: [SecondMoment] = []
    /// Of all groups of a depthwise convolution.
    var depthwise: ChannelMoment?
    /// Of the values that blocks see.
    var byName: [String: SecondMoment] = [:]
    /// Entry j of a patch is entry `order[j]` of a weight row.
    var order: [Int] = []

    private var isEmpty: Bool { groups.isEmpty && byName.isEmpty && depthwise == nil }

    mutating func flush() throws(CetError) {
      for index in groups.indices { try groups[index].flush() }
      for name in byName.keys { try byName[name]?.flush() }
    }

    mutating func merge(_ other: Moments) throws(CetError) {
      if other.isEmpty { return }
      if isEmpty {
        self = other
        return
      }
      for index in groups.indices { try groups[index].merge(other.groups[index]) }
      if let part = other.depthwise { try depthwise?.merge(part) }
      for (name, moment) in other.byName { try byName[name]?.merge(moment) }
    }
  }
}

extension LinearLayer {
  /// Bytes that the moments of a layer's inputs take while they are gathered.
  public var momentBytes: Int {
    var (k, count) = (columns, groups)
    if case .blocks(let names) = kind {
      k /= max(1, names.first?.count ?? 1)
      count = observed.count
    }
    return .saturatingProduct(count, k, k, 8)
  }
}
