import CCet

/// How a written file answers compared with its original: the library runs both on calibration samples.
struct Agreement {
  let comparison: Comparison
  /// Which samples were run; `isHeldOut`: the codes were not fitted to them; nil: not known.
  let isHeldOut: Bool?

  /// Samples that both models are run on at most.
  private static let mostSamples = 256
  /// Held-out samples that tell more than the others do.
  private static let fewestHeldOut = 16

  /// - Parameter totals: of the plan, which says how many samples the codes were fitted to; those after them are preferred.
  init?(
    _ original: Model, _ written: Model, _ data: CalibrationSet, _ totals: PlanTotals, threads: UInt32, _ monitor: Monitor
  ) throws {
    let used = Int(clamping: totals.samples)
    let hasFixedBatch = try written.fixedBatchSize() ?? original.fixedBatchSize() != nil
    let isHeldOut = data.batchCount == 1 && !hasFixedBatch && data.sampleCount - used >= Agreement.fewestHeldOut
    comparison = try Comparison.of(
      written, with: original, data, from: isHeldOut ? used : 0, most: Agreement.mostSamples, threads: threads, monitor)
    self.isHeldOut = isHeldOut
    guard comparison.samples > 0, !comparison.outputs.isEmpty else { return nil }
  }

  /// Of a comparison that was made for itself.
  init(_ comparison: Comparison) {
    self.comparison = comparison
    isHeldOut = nil
  }

  /// What was run, in words.
  var samples: String {
    let count = grouped(UInt64(comparison.samples))
    return switch isHeldOut {
    case true?: "\(count) samples that the codes were not fitted to"
    case false?: "\(count) calibration samples, which the codes were fitted to"
    case nil: "\(count) samples"
    }
  }

  var json: JSONText { .object(comparison.members + (isHeldOut.map { [("held_out", .bool($0))] } ?? [])) }

  /// A line an output and one of what was run, for the summary of a run.
  var summary: [(name: String, value: String)] {
    comparison.outputs.enumerated().map { index, output in
      let same = output.agreement.map { "top-1 \(fixed(100 * $0))%, " } ?? ""
      return (
        index == 0 ? "agreement" : "",
        "\(same)max|Δ| \(scientific(output.largestDifference)) of \(scientific(output.largestReference)), output \(output.name)"
      )
    } + [("", "on \(samples)")]
  }
}
