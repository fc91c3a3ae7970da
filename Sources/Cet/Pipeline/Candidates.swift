import CetAutodiff
import CetQuantize
import CetTensor

extension Session {
  /// Batches for the input statistics and batches for the losses that the plan rests on. With few batches they
  /// are the same: a covariance of too few patches then makes low widths look better than they are.
  var split: (fitting: [Int], heldOut: [Int]) {
    let all = Array(batches.indices)
    guard all.count >= 4 else { return (all, all) }
    return (all.filter { $0 % 4 != 3 }, all.filter { $0 % 4 == 3 })
  }

  /// Memory for input statistics: a quarter of what the host allows, or of 4 GiB.
  static func statisticsBytes(_ maxMemory: Int?) -> Int { (maxMemory ?? 4 << 30) / 4 }

  /// Every layer in `widths` quantized at each of its widths.
  /// - Parameter widths: by layer index.
  func candidates(
    _ widths: [Int: [Int]], fitting: [Batch], rounding: Rounding, granularity: Granularity, maxMemory: Int?,
    monitor: Monitor
  ) throws -> [Int: [QuantizedLayer]] {
    var result: [Int: [QuantizedLayer]] = [:]
    let indices = widths.keys.sorted()
    let total = indices.reduce(0) { $0 + (widths[$1]?.count ?? 0) }
    var done = 0
    func quantize(_ index: Int, _ statistics: InputStatistics?) throws {
      let layer = try LayerRounding(engine, index, statistics)
      result[index] = try (widths[index] ?? []).map { bits in
        let made = try layer.quantized(bits: bits, granularity: granularity)
        done += 1
        try monitor.report(.rounding, done, of: total)
        return made
      }
    }
    guard rounding != .nearest else {
      for index in indices { try quantize(index, nil) }
      return result
    }
    for index in indices where !Engine.usesStatistics(engine.layers[index]) { try quantize(index, nil) }
    try engine.inputStatistics(
      of: indices, batches: fitting, memory: Session.statisticsBytes(maxMemory),
      progress: { try monitor.report(.statistics, $0, of: $1) }, each: { try quantize($0, $1) })
    return result
  }
}
