import ArgumentParser
import CCet
import Glibc

/// Why a run ends without its result, in one line.
struct Failure: Error {
  enum Kind { case failed, usage, interrupted, brokenPipe, enoughSeen }

  var message: String
  var kind = Kind.failed
  /// The library's word for it.
  var status: String?

  init(_ message: String) { self.message = message }

  /// What is wrong with the command line itself.
  init(usage message: String) {
    self.message = message
    kind = .usage
  }

  /// What the last call of the library said about its status.
  init(status: cet_status) {
    let detail = String(cString: cet_last_error_message())
    self.status = String(cString: cet_status_string(status))
    message = detail.isEmpty ? self.status ?? "" : detail
    // Nothing else than a signal makes the progress callback cancel.
    if status == CET_CANCELLED { self = .interrupted }
  }

  static let interrupted = Failure(message: "interrupted", kind: .interrupted)
  /// Nobody takes the result any more.
  static let brokenPipe = Failure(message: "", kind: .brokenPipe)
  /// The reader of a table wants no more of it.
  static let enoughSeen = Failure(message: "", kind: .enoughSeen)

  private init(message: String, kind: Kind) {
    self.message = message
    self.kind = kind
  }
}

/// How a run that has no result ends: a line or two on standard error, the same as a document where one was asked for,
/// and an exit code.
struct Ending {
  private var lines: [String]
  private var status: String?
  private var code: Int32
  private let command: String?
  private let wantsDocument: Bool

  init(_ error: any Error, _ arguments: [String]) {
    command = arguments.first.flatMap { Tool.commands.contains($0) ? $0 : nil }
    wantsDocument = arguments.prefix { $0 != "--" }.contains("--json")
    if let failure = error as? Failure {
      lines = failure.message.isEmpty ? [] : [failure.message.split(whereSeparator: \.isNewline).joined(separator: " ")]
      status = failure.status
      switch failure.kind {
      case .failed: code = 1
      case .usage: code = 2
      case .interrupted: code = 128 + Interrupt.signal
      case .brokenPipe: code = 128 + SIGPIPE
      case .enoughSeen: code = 0
      }
    } else if Tool.exitCode(for: error) == .validationFailure {
      lines = Ending.lines(Tool.fullMessage(for: error))
      code = 2
    } else {
      lines = ["\(error)"]
      code = 1
    }
    if code == 2, lines.count < 2 {
      lines.append("See '\((["cet-onnx"] + [command].compactMap { $0 }).joined(separator: " ")) --help'.")
    }
  }

  /// The parser's words without its usage text: what is wrong, and what belongs there.
  private static func lines(_ text: String) -> [String] {
    var parts = text.split(separator: "\n", omittingEmptySubsequences: true).map(String.init)
    if let usage = parts.firstIndex(where: { $0.hasPrefix("Usage:") }) { parts.removeSubrange(usage...) }
    let help = parts.firstIndex { $0.hasPrefix("Help:") }.map { parts.remove(at: $0) }
    // Long lists of values come as bullets.
    var message = parts.map { $0.drop { $0 == " " } }.map { $0.hasPrefix("- ") ? "'\($0.dropFirst(2))'" : String($0) }
      .joined(separator: " ").replacing("' '", with: "', '").replacing("one of the following:", with: "one of")
    if message.hasPrefix("Error: ") { message.removeFirst(7) }
    if let likely = likelyValue(message) { message += " Did you mean '\(likely)'?" }
    return [message] + (help.map { [String($0.dropFirst(5).drop { $0 == " " })] } ?? [])
  }

  /// Of a message "The value 'x' is invalid for '--option'. Please provide one of 'a', 'b' and 'c'."
  private static func likelyValue(_ message: String) -> String? {
    guard message.hasPrefix("The value '"), let list = message.firstRange(of: "Please provide one of") else { return nil }
    let value = message.split(separator: "'", maxSplits: 2, omittingEmptySubsequences: false)[1]
    let quoted = message[list.upperBound...].split(separator: "'", omittingEmptySubsequences: false)
    return nearest(to: String(value), among: quoted.indices.filter { $0 % 2 == 1 }.map { String(quoted[$0]) })
  }

  /// Returns the exit code.
  func show() -> Int32 {
    if let first = lines.first {
      writeError("cet-onnx: \(first)\n" + lines.dropFirst().map { $0 + "\n" }.joined())
      if wantsDocument {
        print(
          JSONText.object([
            ("command", command.map { .string($0) } ?? .null), ("error", .string(first)),
            ("status", status.map { .string($0) } ?? .null), ("exit_code", .integer(UInt64(code))),
          ]).text)
      }
    }
    fflush(nil)
    return code
  }
}

/// The candidate that a mistyped word most likely stands for; nil when none is near.
func nearest(to word: String, among candidates: [String]) -> String? {
  let near = candidates.map { ($0, editDistance(word, $0)) }.filter { $1 <= max(1, min(3, word.count / 2)) }
  return near.min { $0.1 < $1.1 }?.0 ?? candidates.first { word.count >= 3 && $0.hasPrefix(word) }
}

/// Letters to insert, remove, replace or swap with their neighbour.
private func editDistance(_ first: String, _ second: String) -> Int {
  let (a, b) = (Array(first.lowercased()), Array(second.lowercased()))
  var rows = [Array(0...b.count)]
  for i in 0..<a.count {
    var row = [i + 1]
    for j in 0..<b.count {
      var least = min(rows[i][j] + (a[i] == b[j] ? 0 : 1), rows[i][j + 1] + 1, row[j] + 1)
      if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { least = min(least, rows[i - 1][j - 1] + 1) }
      row.append(least)
    }
    rows.append(row)
  }
  return rows[a.count][b.count]
}
