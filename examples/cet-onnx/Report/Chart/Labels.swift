/// Places labels beside their points so that none covers another or a mark; those that had to go far get a line to their point.
struct Labels {
  private struct Box {
    var left: Double, top: Double, right: Double, bottom: Double

    func covers(_ other: Box) -> Bool { left < other.right && other.left < right && top < other.bottom && other.top < bottom }
  }

  private var taken: [Box] = []
  private let area: Box

  /// - Parameter left: where the texts of the axis end.
  init(left: Double = 0, width: Double, top: Double, bottom: Double) { area = Box(left: left, top: top, right: width, bottom: bottom) }

  /// Keeps labels off a mark.
  mutating func avoid(_ x: Double, _ y: Double, _ radius: Double) {
    taken.append(Box(left: x - radius, top: y - radius, right: x + radius, bottom: y + radius))
  }

  /// Near the point, else farther and farther above, below and beside it; not at all where there is no room.
  mutating func place(_ text: String, _ x: Double, _ y: Double, _ style: String, in drawing: inout Drawing) {
    let width = Double(text.count) * Drawing.letter * (style.contains("accent") ? 1.12 : 1.02)
    for distance in [0.0, 14, 28, 42, 58, 76, 96, 120] {
      for (dx, dy) in [
        (10.0, -distance), (10, distance), (-10 - width, -distance), (-10 - width, distance), (10 + distance, -distance),
        (10 + distance, distance),
      ] {
        let box = Box(left: x + dx, top: y + dy - 8, right: x + dx + width, bottom: y + dy + 8)
        guard box.left >= area.left, box.right <= area.right, box.top >= area.top, box.bottom <= area.bottom,
          !taken.contains(where: box.covers)
        else { continue }
        taken.append(box)
        if distance > 14 {
          let end = dx > 0 ? box.left - 2 : box.right + 2
          drawing.line(x, y, end, y + dy, "leader")
        }
        drawing.text(text, box.left, y + dy + 4, .start, style + " halo")
        return
      }
    }
  }
}
