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

/// Columns of text, each as wide as its widest entry.
struct Table {
  enum Alignment { case left, right }

  private let columns: [(title: String, alignment: Alignment)]
  private var rows: [[String]] = []

  init(_ columns: [(title: String, alignment: Alignment)]) { self.columns = columns }

  mutating func add(_ row: [String]) { rows.append(row) }

  var text: String {
    var widths = columns.map(\.title.count)
    for row in rows { for (index, cell) in row.enumerated() { widths[index] = max(widths[index], cell.count) } }
    let lines = [columns.map(\.title), widths.map { String(repeating: "-", count: $0) }] + rows
    return lines.map { line in
      var cells = line.enumerated().map { index, cell in
        columns[index].alignment == .left ? cell.padded(to: widths[index]) : cell.paddedLeft(to: widths[index])
      }.joined(separator: "  ")
      while cells.last == " " { cells.removeLast() }
      return cells + "\n"
    }.joined()
  }
}

/// Names and values, one a line.
func listing(_ entries: [(name: String, value: String)]) -> String {
  let width = entries.map(\.name.count).max() ?? 0
  return entries.map { "\($0.name.padded(to: width))  \($0.value)\n" }.joined()
}
