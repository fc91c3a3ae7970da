import Glibc

extension String {
  /// printf's format.
  init(format: String, _ arguments: any CVarArg...) {
    self = withVaList(arguments) { list in
      withUnsafeTemporaryAllocation(of: CChar.self, capacity: 512) { buffer in
        vsnprintf(buffer.baseAddress!, buffer.count, format, list)
        return String(cString: buffer.baseAddress!)
      }
    }
  }

  func padded(to width: Int) -> String { self + String(repeating: " ", count: max(0, width - count)) }
  func paddedLeft(to width: Int) -> String { String(repeating: " ", count: max(0, width - count)) + self }
}

/// 1234567 as 1,234,567.
func grouped(_ number: UInt64) -> String {
  var result = ""
  for (index, digit) in String(number).reversed().enumerated() {
    if index > 0, index % 3 == 0 { result.append(",") }
    result.append(digit)
  }
  return String(result.reversed())
}

/// Three digits that count, or "-" for a number that is not known.
func scientific(_ number: Double) -> String { number.isNaN ? "-" : String(format: "%.2e", number) }

func fixed(_ number: Double, _ digits: Int = 2) -> String {
  number.isFinite ? String(format: "%.*f", Int32(digits), number) : "-"
}

/// h:mm:ss, or m:ss below an hour.
func clock(_ seconds: Double) -> String {
  let whole = Int(min(max(0, seconds), 359_999))
  return whole >= 3600
    ? String(format: "%d:%02d:%02d", whole / 3600, whole / 60 % 60, whole % 60)
    : String(format: "%d:%02d", whole / 60, whole % 60)
}

/// What a page of text is wide, whoever reads it.
let pageWidth = 80

extension String {
  /// The text with its middle left out where it is longer.
  func elided(to width: Int) -> String {
    guard count > width, width > 1 else { return self }
    return prefix((width - 1) / 2) + "…" + suffix(width - 1 - (width - 1) / 2)
  }
}

/// Columns of text, each as wide as its widest entry while all fit a page. Where they do not, the widest columns of words get
/// narrower; numbers stay whole.
struct Table {
  enum Alignment { case left, right }

  private let columns: [(title: String, alignment: Alignment)]
  private var rows: [[String]] = []

  init(_ columns: [(title: String, alignment: Alignment)]) { self.columns = columns }

  mutating func add(_ row: [String]) { rows.append(row) }

  var text: String {
    var widths = columns.map(\.title.count)
    for row in rows { for (index, cell) in row.enumerated() { widths[index] = max(widths[index], cell.count) } }
    while widths.reduce(2 * (widths.count - 1), +) > pageWidth,
      let widest = columns.indices.filter({ columns[$0].alignment == .left && widths[$0] > 4 }).max(by: { widths[$0] < widths[$1] })
    {
      widths[widest] -= 1
    }
    let lines = [columns.map(\.title), widths.map { String(repeating: "-", count: $0) }] + rows
    return lines.map { line in
      var cells = line.enumerated().map { index, cell in
        let cell = columns[index].alignment == .left ? cell.elided(to: widths[index]) : cell
        return columns[index].alignment == .left ? cell.padded(to: widths[index]) : cell.paddedLeft(to: widths[index])
      }.joined(separator: "  ")
      while cells.last == " " { cells.removeLast() }
      return cells + "\n"
    }.joined()
  }
}

/// Names and values. A value that does not fit the page goes on below itself; a single word is never cut.
func listing(_ entries: [(name: String, value: String)]) -> String {
  let width = entries.map(\.name.count).max() ?? 0
  return entries.map { entry in
    let lines = wrapped(entry.value, to: pageWidth - width - 2)
    return zip([entry.name] + lines.dropFirst().map { _ in "" }, lines).map { "\($0.padded(to: width))  \($1)\n" }.joined()
  }.joined()
}

/// Lines of whole words.
private func wrapped(_ text: String, to width: Int) -> [String] {
  var lines = [""]
  for word in text.split(separator: " ", omittingEmptySubsequences: false) {
    if lines[lines.count - 1].isEmpty {
      lines[lines.count - 1] = String(word)
    } else if lines[lines.count - 1].count + 1 + word.count <= width {
      lines[lines.count - 1] += " " + word
    } else {
      lines.append(String(word))
    }
  }
  return lines
}
