/// How errors of two tensors add to or cancel each other: δᵢᵀHδⱼ, scaled by both tensors' own losses.
struct InteractionFigure {
  var geometry: Geometry
  var titles: [String: String]

  var figure: Figure? {
    let count = geometry.names.count
    guard count > 1 else { return nil }
    let own = (0..<count).map { geometry.products[$0][$0] }
    let scaled = (0..<count).map { i in
      (0..<count).map { j in own[i] > 0 && own[j] > 0 ? geometry.products[i][j] / (own[i] * own[j]).squareRoot() : 0 }
    }
    let sum = own.reduce(0, +) / 2
    let all = geometry.products.flatMap { $0 }.reduce(0, +) / 2
    let pairs = (0..<count).flatMap { i in (0..<i).map { (i: $0, j: i, value: scaled[i][$0]) } }
    let strongest = pairs.max { abs($0.value) < abs($1.value) }
    let names = geometry.names
    var lead =
      "δᵢᵀHδⱼ of \(count) tensors' errors, scaled to 1 for a tensor with itself. Orange adds to the loss, blue takes from it. "
      + "Each for itself they lose \(power(sum)) at second order, together \(power(all))."
    if let strongest {
      lead +=
        " The strongest pair is \(title(names[strongest.i])) and \(title(names[strongest.j])) (\(String(format: "%+.2f", strongest.value).replacing("-", with: "−")))."
    }
    return Figure(
      id: "interactions", title: "Interactions between tensors", lead: lead,
      label: "Matrix of \(count) tensors; the numbers are in the list below.",
      numbers: DataTable(
        caption: "Interactions, strongest first", columns: ["tensor", "with", "interaction"],
        rows: pairs.sorted { abs($0.value) > abs($1.value) }.prefix(100).map {
          [.text(names[$0.i]), .text(names[$0.j]), .number(String(format: "%.3f", $0.value), $0.value)]
        })
    ) { width in
      let isWide = width > 500
      let longest = Double(names.map { title($0).count }.max() ?? 0)
      let left = isWide ? min(300, (longest + 5) * Drawing.letter) : 30
      let cell = min(30, (width - left - 4) / Double(count))
      var drawing = Drawing(width: width, height: cell * Double(count) + 30)
      for i in 0..<count {
        let y = 24 + cell * Double(i)
        if cell >= 12 || isWide {
          drawing.text(
            isWide ? "\(i + 1)  \(shortened(title(names[i]), to: 36))" : String(i + 1), left - 8, y + cell / 2 + 4, .end, "soft")
        }
        if cell >= 17 || i % 2 == 0 { drawing.text(String(i + 1), left + cell * (Double(i) + 0.5), 16, .middle, "soft") }
        for j in 0..<count {
          let value = scaled[i][j]
          drawing.rectangle(
            left + cell * Double(j), y, cell - 1, cell - 1, i == j ? "own" : value < 0 ? "less" : "more",
            tip: i == j
              ? "\(title(names[i])) alone: \(scientific(own[i] / 2))"
              : "\(title(names[i])) with \(title(names[j])): \(String(format: "%+.2f", value))",
            opacity: i == j ? nil : min(1, 0.04 + abs(value)))
        }
      }
      return drawing
    }
  }

  private func title(_ name: String) -> String { titles[name] ?? name }
}
