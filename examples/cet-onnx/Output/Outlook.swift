import Glibc

/// What a dry run says about the run that it stands for.
struct Outlook {
  /// The written file; 0: not known.
  var fileBytes: UInt64
  /// Whether that is so to the byte, or at most so.
  var isExact: Bool
  /// Beyond model and data; nil: not known without data.
  var memory: UInt64?
  /// What planning took, and what the rest will take about; NaN: not known.
  var planningSeconds: Double
  var restSeconds: Double

  var lines: [(name: String, value: String)] {
    let size = fileBytes == 0 ? "not known: bits were set by hand, or the plan is for another encoding" : isExact ? "\(grouped(fileBytes)) B, exactly" : "at most \(grouped(fileBytes)) B"
    return [
      ("dry run", "nothing was written"), ("final size", size),
      (
        "memory",
        (memory.map { "\(grouped($0)) B at most for the rest, beyond model and data" } ?? "not known without --data")
          + "; \(grouped(Outlook.peakBytes)) B so far in all"
      ),
      (
        "time",
        String(format: "%.1f s so far; ", planningSeconds)
          + (restSeconds.isNaN ? "the rest is not known" : String(format: "about %.1f s for the rest", restSeconds))
      ),
    ]
  }

  var json: JSONText {
    .object([
      ("file_bytes", fileBytes == 0 ? .null : .integer(fileBytes)), ("exact", .bool(isExact && fileBytes > 0)),
      ("memory_bytes", memory.map { .integer($0) } ?? .null), ("peak_bytes", .integer(Outlook.peakBytes)),
      ("seconds", .number(planningSeconds)), ("seconds_left", .number(restSeconds)),
    ])
  }

  /// The most memory that this process has held.
  private static var peakBytes: UInt64 {
    var usage = rusage()
    getrusage(RUSAGE_SELF.rawValue, &usage)
    return UInt64(max(0, usage.ru_maxrss)) * 1024
  }
}
