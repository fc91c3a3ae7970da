import CetAutodiff
import CetMeasure
import CetQuantize
import CetTensor

extension Session {
  /// Batches for the input statistics and batches for the losses that the plan rests on. With few batches they
  /// are the same: a covariance of too few patches then makes low widths look better than they are. Batches that take
  /// other branches of the model are split by themselves, and held-out ones of all kinds take turns.
  /// - Parameter fold: the one that is held out.
  func split(fold: Int = SamplePolicy.folds - 1) throws -> (fitting: [Int], heldOut: [Int]) {
    var kinds: [(reached: Set<Int>, batches: [Int])] = []
    for (index, batch) in batches.enumerated() {
      let reached = try bound.reached(batch)
      if let kind = kinds.firstIndex(where: { $0.reached == reached }) {
        kinds[kind].batches.append(index)
      } else {
        kinds.append((reached, [index]))
      }
    }
    var fitting: [Int] = []
    var heldOut: [(turn: Int, index: Int)] = []
    for (_, members) in kinds {
      for (position, index) in members.enumerated() {
        let isHeldOut = position % SamplePolicy.folds == fold
        if members.count < SamplePolicy.folds || !isHeldOut { fitting.append(index) }
        if members.count < SamplePolicy.folds || isHeldOut { heldOut.append((position, index)) }
      }
    }
    return (fitting.sorted(), heldOut.sorted { $0 < $1 }.map(\.index))
  }

  /// Memory for input statistics: a quarter of the limit.
  static func statisticsBytes(_ maxMemory: Int?) -> Int { memoryLimit(maxMemory) / 4 }

  /// Every layer in `widths` quantized at each of its widths.
  /// - Parameters:
  ///   - widths: by layer index.
  ///   - codings: what codes stand for, by layer index and bits; where they are missing, the one of less error.
  ///   - nearest: layers that get the nearest codes whatever the rounding, by index.
  func candidates(
    _ widths: [Int: [Int]], codings: [[Int: Coding]] = [], fitting: [FittingBatch], rounding: Rounding, nearest: Set<Int> = [], form: GridForm,
    maxMemory: Int?, effort: RoundingEffort, monitor: Monitor
  ) throws -> [Int: [QuantizedLayer]] {
    var result: [Int: [QuantizedLayer]] = [:]
    let indices = widths.keys.sorted()
    let total = indices.reduce(0) { $0 + (widths[$1]?.count ?? 0) }
    var done = 0
    func quantize(_ index: Int, _ statistics: InputStatistics?, _ factors: InputFactors? = nil) throws {
      let layer = try LayerRounding(bound, index, statistics, factors)
      result[index] = try (widths[index] ?? []).map { bits in
        let known = index < codings.count ? codings[index][bits].map { CodeFormat(bits: bits, coding: $0) } : nil
        let made = try layer.quantized(known ?? layer.format(bits: bits, form: form), form: form, effort: effort)
        done += 1
        try monitor.report(.rounding, done, of: total)
        return made
      }
    }
    guard rounding != .nearest else {
      for index in indices { try quantize(index, nil) }
      return result
    }
    let observed = Set(try bound.observable(indices, fitting)).subtracting(nearest)
    for index in indices where !observed.contains(index) { try quantize(index, nil) }
    try StatisticsMeasurement(bound, fitting).run(
      observed.sorted(), memory: min(statisticsBytes, Session.statisticsBytes(maxMemory)),
      progress: { try monitor.report(.statistics, $0, of: $1) }
    ) { run, statistics in
      let factors = InputFactors(statistics, bound.workers)
      for index in run { try quantize(index, statistics, factors) }
    }
    return result
  }
}
