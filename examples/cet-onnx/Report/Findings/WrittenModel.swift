import CCet

/// The file as it is written, opened again: its digest, and how it answers.
struct WrittenModel {
  var sha256: String?
  var agreement: Agreement?
  /// Why it could not be run.
  var notes: [String] = []

  init(
    _ quantized: Quantized, _ encoding: cet_encoding, of original: Model, _ data: CalibrationSet, _ totals: PlanTotals,
    threads: UInt32,
    _ monitor: Monitor
  ) throws {
    do {
      let written = try Model(bytes: quantized.bytes(encoding: encoding))
      sha256 = try ModelDescription(written.inspectJSON()).sha256
      agreement = try Agreement(original, written, data, used: Int(clamping: totals.samples), threads: threads, monitor)
    } catch let failure as Failure where failure.kind == .failed {
      notes.append("The written file was not compared with the original: \(failure.message).")
    }
  }
}
