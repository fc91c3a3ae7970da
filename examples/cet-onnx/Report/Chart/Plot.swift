/// Two axes with a grid, and room for what stands outside of them.
struct Plot {
  var drawing: Drawing
  private(set) var x: Scale
  private(set) var y: Scale

  /// - Parameters:
  ///   - left: room for the labels of `y`.
  ///   - right: room for labels at the ends of lines.
  init(
    width: Double, height: Double, x: (values: [Double], kind: Scale.Kind, title: String),
    y: (values: [Double], kind: Scale.Kind, title: String), left: Double = 52, right: Double = 14, top: Double = 26,
    isWhole: (x: Bool, y: Bool) = (false, false),
    xText: (Double) -> String = tickText, yText: (Double) -> String = tickText
  ) {
    drawing = Drawing(width: width, height: height)
    let bottom = height - 44
    self.x = .covering(x.values, x.kind, from: left, to: width - right)
    self.y = .covering(y.values, y.kind, from: bottom, to: top)
    self.x.isWhole = isWhole.x
    self.y.isWhole = isWhole.y
    drawing.text(y.title, 0, 12, .start, "axis")
    for value in self.y.ticks(max(3, Int((bottom - top) / 34))) {
      let place = self.y(value)
      drawing.line(left, place, width - right, place, "grid")
      drawing.text(yText(value), left - 8, place + 4, .end, "soft")
    }
    var last = -1.0
    for value in self.x.ticks(max(2, Int((width - left - right) / (isWhole.x ? 32 : 64)))) {
      let place = self.x(value)
      let text = xText(value)
      let half = Double(text.count) * Drawing.letter / 2
      drawing.line(place, bottom, place, bottom + 5, "tick")
      guard place - half > last else { continue }
      drawing.text(text, min(place, width - half - 1), bottom + 19, .middle, "soft")
      last = place + half + 8
    }
    drawing.line(left, bottom, width - right, bottom, "tick")
    drawing.text(x.title, width - right, height - 6, .end, "axis")
  }

  mutating func line(_ points: [(x: Double, y: Double)], _ style: String) {
    drawing.path(points.map { (x($0.x), y($0.y)) }, style)
  }

  /// What lies between two values of `y` along `x`.
  mutating func band(_ points: [(x: Double, low: Double, high: Double)], _ style: String) {
    drawing.path(points.map { (x($0.x), y($0.high)) } + points.reversed().map { (x($0.x), y($0.low)) }, style, closed: true)
  }

  mutating func mark(_ shape: Mark, _ at: (x: Double, y: Double), _ size: Double, _ style: String, tip: String? = nil) {
    drawing.mark(shape, x(at.x), y(at.y), size, style, tip: tip)
  }

  /// A label beside a point, on the side where there is room.
  mutating func label(_ text: String, _ at: (x: Double, y: Double), _ style: String = "", dy: Double = 4) {
    let place = x(at.x)
    let isRight = place + 10 + Double(text.count) * Drawing.letter < drawing.width
    drawing.text(text, place + (isRight ? 10 : -10), y(at.y) + dy, isRight ? .start : .end, style)
  }
}
