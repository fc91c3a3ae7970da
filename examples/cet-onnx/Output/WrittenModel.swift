import CCet

/// The file as it is written, opened again: its digest, and how it answers.
struct WrittenModel {
  private(set) var sha256: String?
  private(set) var agreement: Agreement?
  /// Why it could not be run.
  private(set) var notes: [String] = []

  /// - Parameter data: what both models are run on; nil: nothing is run.
  init(
    _ quantized: Quantized, _ encoding: cet_encoding, of original: Model, _ data: CalibrationSet?, _ totals: PlanTotals, threads: UInt32,
    _ monitor: Monitor
  ) throws {
    do {
      let written = try Model(bytes: quantized.bytes(encoding: encoding))
      // Of a file with data beside it these are not the bytes.
      if try !Plan.carriedOut(in: quantized).putsDataBeside() { sha256 = try ModelDescription(written.inspectJSON()).sha256 }
      agreement = try data.flatMap { try Agreement(original, written, $0, totals, threads: threads, monitor) }
    } catch let failure as Failure where failure.kind == .failed {
      notes.append("not compared with the original: \(failure.message)")
    }
  }

  /// A file that was written before, with the plan that it was written by.
  init(_ written: Model, of original: Model, _ data: CalibrationSet, _ totals: PlanTotals, threads: UInt32, _ monitor: Monitor) throws {
    sha256 = try ModelDescription(written.inspectJSON()).sha256
    agreement = try Agreement(original, written, data, totals, threads: threads, monitor)
  }
}
