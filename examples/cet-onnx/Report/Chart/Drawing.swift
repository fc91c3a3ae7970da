/// An SVG drawing in the making. Colours come from the page's style by class, so that they follow light and dark.
struct Drawing {
  enum Anchor: String { case start, middle, end }

  let width: Double
  var height: Double
  private(set) var body = ""

  init(width: Double, height: Double) {
    self.width = width
    self.height = height
  }

  /// Text of the page's size, about 7 units a character.
  static let letter = 6.9

  mutating func line(_ x1: Double, _ y1: Double, _ x2: Double, _ y2: Double, _ style: String) {
    body += "<line class=\"\(style)\" x1=\"\(n(x1))\" y1=\"\(n(y1))\" x2=\"\(n(x2))\" y2=\"\(n(y2))\"/>"
  }

  mutating func text(_ text: String, _ x: Double, _ y: Double, _ anchor: Anchor = .start, _ style: String = "") {
    guard !text.isEmpty else { return }
    let place = anchor == .start ? "" : " text-anchor=\"\(anchor.rawValue)\""
    body += "<text\(of(style)) x=\"\(n(x))\" y=\"\(n(y))\"\(place)>\(escaped(text))</text>"
  }

  mutating func rectangle(
    _ x: Double, _ y: Double, _ width: Double, _ height: Double, _ style: String, tip: String? = nil, opacity: Double? = nil
  ) {
    body +=
      "<rect\(of(style)) x=\"\(n(x))\" y=\"\(n(y))\" width=\"\(n(max(0, width)))\" height=\"\(n(max(0, height)))\""
      + (opacity.map { " fill-opacity=\"\(n($0, 2))\"" } ?? "") + tipped(tip) + "/>"
  }

  mutating func path(_ points: [(x: Double, y: Double)], _ style: String, closed: Bool = false) {
    guard !points.isEmpty else { return }
    let steps = points.map { "\(n($0.x)),\(n($0.y))" }.joined(separator: "L")
    body += "<path class=\"\(style)\" d=\"M\(steps)\(closed ? "Z" : "")\"/>"
  }

  mutating func mark(_ shape: Mark, _ x: Double, _ y: Double, _ size: Double, _ style: String, tip: String? = nil) {
    body +=
      shape == .circle
      ? "<circle class=\"\(style)\" cx=\"\(n(x))\" cy=\"\(n(y))\" r=\"\(n(size))\"\(tipped(tip))/>"
      : "<path class=\"\(style)\" d=\"\(shape.outline(x, y, size))\"\(tipped(tip))/>"
  }

  func svg(label: String, kind: String) -> String {
    "<svg class=\"\(kind)\" viewBox=\"0 0 \(n(width)) \(n(height))\" role=\"img\" tabindex=\"0\" aria-label=\"\(escaped(label))\""
      + " style=\"--w:\(n(width))px\">\(body)</svg>"
  }

  private func of(_ style: String) -> String { style.isEmpty ? "" : " class=\"\(style)\"" }
  private func tipped(_ tip: String?) -> String { tip.map { " data-tip=\"\(escaped($0))\"" } ?? "" }
  private func n(_ value: Double, _ digits: Int32 = 1) -> String { coordinate(value, digits) }
}

/// Points that are told apart by shape, not by colour alone.
enum Mark {
  case circle, square, diamond, triangle

  func outline(_ x: Double, _ y: Double, _ r: Double) -> String {
    func at(_ dx: Double, _ dy: Double) -> String { "\(coordinate(x + dx)),\(coordinate(y + dy))" }
    let s = r * 0.9
    switch self {
    case .circle, .square: return "M\(at(-s, -s))L\(at(s, -s))L\(at(s, s))L\(at(-s, s))Z"
    case .diamond: return "M\(at(0, -r * 1.25))L\(at(r * 1.25, 0))L\(at(0, r * 1.25))L\(at(-r * 1.25, 0))Z"
    case .triangle: return "M\(at(0, -r * 1.2))L\(at(r * 1.15, r * 0.85))L\(at(-r * 1.15, r * 0.85))Z"
    }
  }
}

func coordinate(_ value: Double, _ digits: Int32 = 1) -> String {
  let text = String(format: "%.*f", digits, value.isFinite ? value : 0)
  return text.hasSuffix(".0") ? String(text.dropLast(2)) : text
}
