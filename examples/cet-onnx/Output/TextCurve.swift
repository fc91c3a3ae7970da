import Glibc

/// Loss over the ratio of files, drawn with letters.
struct TextCurve {
  private let points: [(ratio: Double, loss: Double, label: String)]
  private static let width = 64
  private static let height = 10

  /// - Parameter points: ratio of whole files, loss, and what the point is called; losses that are not positive have no place on it.
  init(points: [(Double, Double, String)]) {
    self.points = points.filter { $0.0.isFinite && $0.1.isFinite && $0.1 > 0 }.sorted { $0.0 < $1.0 }
  }

  /// "" for fewer than two points.
  var text: String {
    guard points.count > 1, let first = points.first, let last = points.last, last.ratio > first.ratio else { return "" }
    let (low, high) = (log10(points.map(\.loss).min() ?? 1), log10(points.map(\.loss).max() ?? 1))
    var rows = [[Character]](repeating: [Character](repeating: " ", count: TextCurve.width), count: TextCurve.height)
    func place(_ ratio: Double, _ loss: Double) -> (row: Int, column: Int) {
      let x = (ratio - first.ratio) / (last.ratio - first.ratio)
      let y = high > low ? (high - log10(loss)) / (high - low) : 0.5
      return (Int((y * Double(TextCurve.height - 1)).rounded()), Int((x * Double(TextCurve.width - 1)).rounded()))
    }
    for (from, to) in zip(points, points.dropFirst()) {
      let (start, end) = (place(from.ratio, from.loss).column, place(to.ratio, to.loss).column)
      for column in start...max(start, end) where end > start {
        let share = Double(column - start) / Double(end - start)
        let loss = pow(10, log10(from.loss) + share * (log10(to.loss) - log10(from.loss)))
        rows[place(from.ratio, loss).row][column] = "."
      }
    }
    for point in points { rows[place(point.ratio, point.loss).row][place(point.ratio, point.loss).column] = "o" }
    let axis = rows.enumerated().map { index, row in
      let loss = pow(10, high - (high - low) * Double(index) / Double(TextCurve.height - 1))
      let line = (index % 3 == 0 ? scientific(loss) : "").paddedLeft(to: 9) + " |" + String(row)
      return String(line.reversed().drop { $0 == " " }.reversed()) + "\n"
    }
    let ends = "\(fixed(first.ratio))x".padded(to: TextCurve.width - 16) + "whole file \(fixed(last.ratio))x"
    return "\nloss\n" + axis.joined() + String(repeating: " ", count: 10) + "+" + String(repeating: "-", count: TextCurve.width) + "\n"
      + String(repeating: " ", count: 11) + ends + "\n"
  }
}
