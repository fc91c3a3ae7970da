import Glibc

/// Size against loss: the Pareto front of the table, the plans that were chosen, and others for comparison.
struct SizeLossFigure {
  var curve: SizeLossCurve
  var chosen: [CurvePoint]
  /// Plans of other methods that were asked for.
  var rivals: [CurvePoint]
  var lossName: String

  var figure: Figure? {
    guard curve.front.count > 1 || !rivals.isEmpty, !chosen.isEmpty else { return nil }
    return Figure(
      id: "size-loss", title: "Size and loss", lead: lead,
      label: "Predicted loss against bytes of the file: \(curve.front.count) plans of the Pareto front, \(chosen.count) chosen.",
      numbers: numbers, draw: draw)
  }

  private var lead: String {
    var words =
      "The line is the Pareto front: for every size the plan of least predicted loss (\(lossName), new samples), with its 95 % interval."
    if !curve.uniform.isEmpty { words += " Squares have the same bits everywhere." }
    if let point = chosen.first, chosen.count == 1,
      let other = (curve.uniform + rivals).min(by: { distance($0, point) < distance($1, point) })
    {
      let factor = other.loss / point.loss
      words +=
        " The plan loses \(power(point.loss)) in \(size(Double(point.fileBytes))); \(other.label) takes \(size(Double(other.fileBytes)))"
      if other.loss >= point.interval.low, other.loss <= point.interval.high {
        words += " and loses \(power(other.loss)), a difference that lies within the interval."
        return words
      }
      words += factor > 1 ? " and loses \(String(format: "%.1f", factor)) times as much." : " and loses \(power(other.loss))."
    }
    return words
  }

  private func distance(_ first: CurvePoint, _ second: CurvePoint) -> Double {
    abs(log(Double(first.fileBytes) / Double(max(1, second.fileBytes))))
  }

  private func tip(_ point: CurvePoint, _ name: String) -> String {
    "\(name): \(grouped(point.fileBytes)) bytes, \(fixed(point.meanBits)) bits a weight, loss \(scientific(point.loss))\(point.interval.text)"
  }

  private func draw(_ width: Double) -> Drawing {
    let all = curve.front + curve.uniform + rivals + chosen
    let bytes = all.map { Double($0.fileBytes) }
    let isWide = (bytes.max() ?? 1) > 6 * (bytes.min() ?? 1)
    var plot = Plot(
      width: width, height: width > 500 ? 400 : 340,
      x: (bytes, isWide ? .logarithmic : .linear, "bytes of the file"),
      y: (all.map(\.loss) + chosen.flatMap { [$0.interval.low, $0.interval.high] }, .logarithmic, "predicted loss (\(lossName))"),
      xText: { size($0).replacing(".00", with: "").replacing(".0 ", with: " ") })
    plot.band(curve.front.filter { $0.interval.low > 0 }.map { (Double($0.fileBytes), $0.interval.low, $0.interval.high) }, "band")
    plot.line(curve.front.map { (Double($0.fileBytes), $0.loss) }, "front")
    for point in curve.front { plot.mark(.circle, (Double(point.fileBytes), point.loss), 2, "front-dot", tip: tip(point, "front")) }
    var labels = Labels(left: plot.x.start, width: width, top: 16, bottom: plot.y.start)
    func mark(_ points: [CurvePoint], _ shape: Mark, _ size: Double, _ style: String) {
      for point in points {
        plot.mark(shape, (Double(point.fileBytes), point.loss), size, style, tip: tip(point, point.label))
        labels.avoid(plot.x(Double(point.fileBytes)), plot.y(point.loss), size + 1)
      }
    }
    for point in curve.front { labels.avoid(plot.x(Double(point.fileBytes)), plot.y(point.loss), 2) }
    for point in chosen where point.interval.low > 0 {
      let x = plot.x(Double(point.fileBytes))
      plot.drawing.line(x, plot.y(point.interval.low), x, plot.y(point.interval.high), "whisker")
    }
    mark(curve.uniform, .square, 5, "other")
    mark(rivals, .diamond, 5, "other")
    mark(chosen, .circle, 6.5, "accent")
    for (points, style) in [(chosen, "accent-text"), (rivals, ""), (curve.uniform, "soft")] {
      for point in points {
        labels.place(
          point.label.replacing(" everywhere", with: ""), plot.x(Double(point.fileBytes)), plot.y(point.loss), style,
          in: &plot.drawing)
      }
    }
    return plot.drawing
  }

  private var numbers: DataTable {
    func row(_ name: String, _ point: CurvePoint) -> [DataTable.Cell] {
      [
        .text(name), .bytes(point.fileBytes), .number(fixed(point.meanBits, 3), point.meanBits), .loss(point.loss),
        .loss(point.interval.low), .loss(point.interval.high),
      ]
    }
    return DataTable(
      caption: "Plans of the figure", columns: ["plan", "file bytes", "bits a weight", "predicted loss", "low", "high"],
      rows: chosen.map { row($0.label, $0) } + rivals.map { row($0.label, $0) } + curve.uniform.map { row($0.label, $0) }
        + curve.front.map { row("front", $0) })
  }
}
