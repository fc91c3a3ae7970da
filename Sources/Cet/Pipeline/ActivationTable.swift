import CetAutodiff
import CetLayers
import CetMeasure
import CetQuantize
import CetTensor

extension Session {
  /// Elements computed for the table of activations, beyond which fewer held-out samples are used.
  private static let activationWork = 2e10
  /// The same for its second-order side.
  private static let secondOrderWork = 2e9
  /// Values that ranges may leave out, as shares of all, the first where a percentile is asked for.
  private static let shares = [1e-4, 1e-3]

  private typealias Candidate = (grid: ActivationGrid, range: ActivationRange)

  /// The session's activations, each with its ranges at the bits that are allowed and what is lost with it alone rounded: ranges of
  /// the samples that are fitted to, losses of those that are held out.
  func activationTable(_ options: ActivationOptions, _ monitor: Monitor) throws(CetError) -> [PlannedActivation] {
    let activations = bound.activations.all
    let (fitting, heldOut) = try split()
    let measurement = ActivationMeasurement(bound)
    let histograms = try measurement.histograms(fitting.map { batches[$0] }) { done, total throws(CetError) in
      try monitor.report(.statistics, done, of: total)
    }
    let samples = max(1, fitting.reduce(0) { $0 + batches[$1].sampleCount })
    let widths = options.bits.filter { $0 != PlannedTensor.keptBits }
    var candidates: [[Candidate]] = []
    for (activation, histogram) in zip(activations, histograms) {
      do throws(CetError) {
        candidates.append(try grids(histogram, widths, options.range))
      } catch {
        throw error.prefixed("activation '\(activation.name)': ")
      }
    }
    let runs = candidates.reduce(0) { $0 + $1.count }
    let all = heldOut.map { batches[$0] }
    let used = try bound.affordable(all, runs: runs, limit: Session.activationWork, least: SamplePolicy.fewestForTable)
    let references = try references()
    let losses = try measurement.losses(
      candidates.map { $0.map(\.grid) }, Array(all.prefix(used)), references: heldOut.prefix(used).map { references[$0] }
    ) { done, total throws(CetError) in try monitor.report(.sensitivity, done, of: total) }
    let table = try activations.indices.map { index throws(CetError) in
      var choices: [Int: PlannedActivation.Choice] = [:]
      for (candidate, loss) in zip(candidates[index], losses[index]) {
        guard loss.mean.isFinite, loss.judgedMean.isFinite else {
          throw CetError(.numeric, "the loss is not finite with activation '\(activations[index].name)' at \(candidate.grid.bits) bits")
        }
        if let best = choices[candidate.grid.bits], best.sensitivity <= loss.judgedMean { continue }
        choices[candidate.grid.bits] = .init(
          grid: candidate.grid, range: candidate.range, sensitivity: loss.judgedMean, measuredLoss: loss.mean)
      }
      return PlannedActivation(
        name: activations[index].name, copies: activations[index].copies, elements: max(1, histograms[index].count / samples),
        bits: PlannedTensor.keptBits, choices: choices, reason: "")
    }
    return try withCurvature(table, Array(all.prefix(used)), monitor)
  }

  /// With what second order says of each choice.
  private func withCurvature(
    _ table: [PlannedActivation], _ batches: [Batch], _ monitor: Monitor
  ) throws(CetError) -> [PlannedActivation] {
    let widths = table.map { $0.choices.keys.sorted() }
    let runs = widths.reduce(0) { $0 + $1.count }
    let used = try bound.affordable(batches, runs: runs, limit: Session.secondOrderWork, least: SamplePolicy.fewestForSecondOrder)
    let grids = zip(table, widths).map { activation, widths in widths.compactMap { activation.choices[$0]?.grid } }
    let found = try ActivationSecondOrder(bound, Array(batches.prefix(used))).run(grids) { done, total throws(CetError) in
      try monitor.report(.curvature, done, of: total)
    }
    guard let found else { return table }
    var result = table
    for (index, values) in found.enumerated() {
      for (place, value) in values.enumerated() { result[index].choices[widths[index][place]]?.curvatureLoss = value }
    }
    return result
  }

  /// Grids to try, each once.
  private func grids(
    _ histogram: ValueHistogram, _ widths: [Int], _ range: ActivationRange
  ) throws(CetError) -> [Candidate] {
    guard !histogram.hasNonFinite else { throw CetError(.numeric, "NaN or infinite values for the calibration data") }
    // A value that no sample makes is as good as zero.
    let (low, high) = histogram.low <= histogram.high ? (histogram.low, histogram.high) : (0, 0)
    var result: [Candidate] = []
    func add(_ bits: Int, _ bounds: (low: Float, high: Float), _ range: ActivationRange) throws(CetError) {
      let grid = try ActivationGrid(bits: bits, low: bounds.low, high: bounds.high)
      if !result.contains(where: { $0.grid == grid }) { result.append((grid, range)) }
    }
    for bits in widths {
      if range != .percentile || histogram.isConstant { try add(bits, (low, high), .minMax) }
      guard range != .minMax, !histogram.isConstant else { continue }
      for share in range == .percentile ? Array(Session.shares.prefix(1)) : Session.shares {
        try add(bits, histogram.range(without: share), .percentile)
      }
      if range == .leastLoss { try add(bits, histogram.leastSquaresRange(bits: bits), .leastSquares) }
    }
    return result
  }
}
