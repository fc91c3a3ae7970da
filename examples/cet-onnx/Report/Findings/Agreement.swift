import CCet

/// How the written file answers compared with its original: the library runs both on calibration samples.
struct Agreement {
  var comparison: Comparison
  /// Which samples were run.
  var samples: String

  private static let mostSamples = 256
  private static let seconds = 20.0

  /// - Parameter used: samples that the codes were fitted to; those after them are fresh and preferred.
  init?(_ original: Model, _ written: Model, _ data: CalibrationSet, used: Int, threads: UInt32, _ monitor: Monitor) throws {
    let size = try written.fixedBatchSize() ?? original.fixedBatchSize() ?? 0
    let isFresh = data.batchCount == 1 && size == 0 && data.sampleCount - used >= 16
    let began = monotonicSeconds()
    comparison = Comparison(hasReference: true)
    batches: for batch in 0..<data.batchCount {
      var first = isFresh ? used : 0
      while comparison.samples < Agreement.mostSamples, monotonicSeconds() - began < Agreement.seconds {
        try Interrupt.check()
        let found = try written.run(data, batch: batch, first: first, size: size, threads: threads)
        guard found.samples > 0 else { continue batches }
        let reference = try original.run(data, batch: batch, first: first, size: size, threads: threads)
        try comparison.add(found.outputs, reference.outputs, samples: found.samples)
        first += found.samples
        monitor.show("compare", comparison.samples, min(Agreement.mostSamples, data.sampleCount))
      }
      break
    }
    guard comparison.samples > 0, !comparison.outputs.isEmpty else { return nil }
    samples =
      "\(grouped(UInt64(comparison.samples))) "
      + (isFresh ? "samples that the codes were not fitted to" : "calibration samples, which the codes were fitted to")
  }

  /// Of a comparison that was made for itself.
  init(_ comparison: Comparison) {
    self.comparison = comparison
    samples = "\(grouped(UInt64(comparison.samples))) samples"
  }
}
