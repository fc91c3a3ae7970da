import Glibc

/// One colour for a bit width; 0 for what is not compressed.
private func colour(_ tone: Int) -> String {
  switch tone {
  case 0: "#8a93a3"
  case 2: "#1b7f79"
  case 3: "#2f6fb7"
  case 4: "#8a56ac"
  default: "#c2571a"
  }
}

private func coordinate(_ value: Double) -> String { String(format: "%.1f", value) }

/// Horizontal bars with a common scale.
struct BarChart {
  struct Bar {
    var label: String
    var value: Double
    var note: String
    var tone: Int
  }

  var bars: [Bar]

  var svg: String {
    let width = 960.0
    let left = min(320, 20 + 7 * Double(bars.map(\.label.count).max() ?? 0))
    let room = width - left - 160
    let largest = max(1, bars.map(\.value).max() ?? 1)
    var body = ""
    for (index, bar) in bars.enumerated() {
      let y = Double(index) * 22
      let length = max(1.5, room * bar.value / largest)
      body += "<text x=\"\(coordinate(left - 8))\" y=\"\(coordinate(y + 14))\" text-anchor=\"end\">"
        + "\(escaped(shortened(bar.label, to: 42)))</text>"
      body += "<rect x=\"\(coordinate(left))\" y=\"\(coordinate(y + 3))\" width=\"\(coordinate(length))\" height=\"15\" "
        + "rx=\"2\" fill=\"\(colour(bar.tone))\"><title>\(escaped(bar.label)): \(escaped(bar.note))</title></rect>"
      body += "<text class=\"soft\" x=\"\(coordinate(left + length + 6))\" y=\"\(coordinate(y + 14))\">"
        + "\(escaped(bar.note))</text>\n"
    }
    let height = Double(bars.count) * 22 + 4
    return "<svg viewBox=\"0 0 \(Int(width)) \(Int(height))\" role=\"img\">\n\(body)</svg>"
  }

  private func shortened(_ text: String, to count: Int) -> String {
    text.count <= count ? text : "…" + text.suffix(count - 1)
  }
}

/// Points over two logarithmic axes of the same range, with the line of equal values.
struct ScatterChart {
  struct Point {
    var label: String
    /// Both positive.
    var x: Double
    var y: Double
    var tone: Int
  }

  var points: [Point]
  var xTitle: String
  var yTitle: String

  var svg: String {
    let values = points.flatMap { [$0.x, $0.y] }
    let low = floor(log10(values.min() ?? 1))
    let high = max(low + 1, ceil(log10(values.max() ?? 10)))
    let (left, top, side) = (70.0, 10.0, 420.0)
    func x(_ value: Double) -> String { coordinate(left + side * (log10(value) - low) / (high - low)) }
    func y(_ value: Double) -> String { coordinate(top + side * (high - log10(value)) / (high - low)) }
    let (least, most) = (pow(10, low), pow(10, high))
    var body = ""
    for decade in Int(low)...Int(high) {
      let value = pow(10, Double(decade))
      body += "<line class=\"grid\" x1=\"\(x(value))\" x2=\"\(x(value))\" y1=\"\(y(least))\" y2=\"\(y(most))\"/>"
      body += "<line class=\"grid\" x1=\"\(x(least))\" x2=\"\(x(most))\" y1=\"\(y(value))\" y2=\"\(y(value))\"/>"
      body += "<text class=\"soft\" x=\"\(x(value))\" y=\"\(coordinate(top + side + 18))\" text-anchor=\"middle\">1e\(decade)</text>"
      body += "<text class=\"soft\" x=\"\(coordinate(left - 8))\" y=\"\(y(value))\" dy=\"4\" text-anchor=\"end\">1e\(decade)</text>\n"
    }
    body += "<line x1=\"\(x(least))\" y1=\"\(y(least))\" x2=\"\(x(most))\" y2=\"\(y(most))\" stroke=\"#8a93a3\" stroke-dasharray=\"4 4\"/>\n"
    for point in points {
      body += "<circle cx=\"\(x(point.x))\" cy=\"\(y(point.y))\" r=\"5\" fill=\"\(colour(point.tone))\" fill-opacity=\"0.85\">"
        + "<title>\(escaped(point.label)), \(point.tone) bits: \(scientific(point.x)) predicted, \(scientific(point.y)) measured</title></circle>\n"
    }
    body += "<text x=\"\(coordinate(left + side / 2))\" y=\"\(coordinate(top + side + 38))\" text-anchor=\"middle\">\(escaped(xTitle))</text>"
    body += "<text transform=\"translate(16 \(coordinate(top + side / 2))) rotate(-90)\" text-anchor=\"middle\">\(escaped(yTitle))</text>"
    body += legend(x: left + side + 40, y: top + 10)
    return "<svg viewBox=\"0 0 700 \(Int(top + side + 50))\" role=\"img\" style=\"max-width:700px\">\n\(body)</svg>"
  }

  private func legend(x: Double, y: Double) -> String {
    Set(points.map(\.tone)).sorted().enumerated().map { index, tone in
      let line = y + 22 * Double(index)
      return "<circle cx=\"\(coordinate(x))\" cy=\"\(coordinate(line))\" r=\"5\" fill=\"\(colour(tone))\"/>"
        + "<text x=\"\(coordinate(x + 12))\" y=\"\(coordinate(line + 4))\">\(tone) bits</text>"
    }.joined()
  }
}
