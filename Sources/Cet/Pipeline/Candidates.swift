import CetAutodiff
import CetMeasure
import CetQuantize
import CetTensor

extension Session {
  /// Batches for the input statistics and batches for the losses that the plan rests on. With few batches they
  /// are the same: a covariance of too few patches then makes low widths look better than they are. Batches that take
  /// other branches of the model are split by themselves, and held-out ones of all kinds take turns.
  /// - Parameter fold: the one that is held out.
  func split(fold: Int = SamplePolicy.folds - 1) throws(CetError) -> (fitting: [Int], heldOut: [Int]) {
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
    _ widths: [Int: [Int]], codings: [[Int: Coding]] = [], fitting: [FittingBatch], rounding: Rounding, nearest: Set<Int> = [],
    rules: CodeRules, maxMemory: Int?, effort: RoundingEffort, monitor: Monitor
  ) throws(CetError) -> [Int: [QuantizedLayer]] {
    var result: [Int: [QuantizedLayer]] = [:]
    let total = widths.values.reduce(0) { $0 + $1.count }
    var done = 0
    try eachLayer(
      Array(widths.keys), fitting: rounding == .nearest ? nil : fitting, nearest: nearest, maxMemory: maxMemory, monitor: monitor
    ) { index, layer throws(CetError) in
      result[index] = try (widths[index] ?? []).map { bits throws(CetError) in
        let known = index < codings.count ? codings[index][bits].map { CodeFormat(bits: bits, coding: $0) } : nil
        let made = try layer.quantized(known.or(layer.format(bits: bits, rules: rules)), rules: rules, effort: effort)
        done += 1
        try monitor.report(.rounding, done, of: total)
        return made
      }
    }
    return result
  }

  /// The codings of less error, by layer index and bits, for methods that round no layer to choose its bits.
  func codings(_ draft: PlanDraft, _ monitor: Monitor) throws(CetError) -> [[Int: Coding]] {
    let widths = draft.plannedWidths
    var result = [[Int: Coding]](repeating: [:], count: bound.layers.count)
    let open = widths.filter { index, bits in
      bits.contains { draft.rules.codings(bits: $0, columns: bound.layers[index].columns).count > 1 }
    }
    guard !open.isEmpty else { return result }
    let options = draft.options
    let fitting = options.rounding == .nearest ? nil : try fitting(options.rounding, split().fitting)
    try eachLayer(Array(open.keys), fitting: fitting, maxMemory: options.maxMemory, monitor: monitor) { index, layer throws(CetError) in
      for bits in open[index] ?? [] {
        result[index][bits] = try layer.format(bits: bits, rules: draft.rules).coding
        try monitor.check()
      }
    }
    return result
  }

  /// Calls `body` for every layer, ready to be rounded: fitted to batches where it uses statistics of its inputs.
  /// - Parameters:
  ///   - fitting: nil: none is fitted.
  ///   - nearest: layers that are not fitted, by index.
  private func eachLayer(
    _ layers: [Int], fitting: [FittingBatch]?, nearest: Set<Int> = [], maxMemory: Int?, monitor: Monitor,
    _ body: (_ index: Int, LayerRounding) throws(CetError) -> Void
  ) throws(CetError) {
    let indices = layers.sorted()
    let observed = try Set(fitting.map { batches throws(CetError) in try bound.observable(indices, batches) } ?? []).subtracting(nearest)
    for index in indices where !observed.contains(index) { try body(index, LayerRounding(bound, index, nil)) }
    guard let fitting, !observed.isEmpty else { return }
    try StatisticsMeasurement(bound, fitting).run(
      observed.sorted(), memory: min(statisticsBytes, Session.statisticsBytes(maxMemory)),
      progress: { done, total throws(CetError) in try monitor.report(.statistics, done, of: total) }
    ) { run, statistics throws(CetError) in
      let factors = InputFactors(statistics, bound.workers)
      for index in run { try body(index, LayerRounding(bound, index, statistics, factors)) }
    }
  }
}
