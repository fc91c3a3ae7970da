/// What plans were predicted to lose as a whole, with intervals, against what was measured.
struct LossFigure {
  struct Row {
    var name: String
    var note: String
    var loss: Double
    var interval = Interval(low: .nan, high: .nan)
    var shape: Mark
    var isPrediction = false
  }

  var groups: [(label: String, rows: [Row])]
  var lossName: String

  init(_ runs: [(label: String, totals: PlanTotals, tensors: [TensorLine])], secondOrder: Double = .nan) {
    lossName = runs.first?.totals.loss ?? ""
    groups = runs.map { run in
      let totals = run.totals
      func sum(_ values: (TensorLine) -> [Double]) -> Double {
        let list = run.tensors.filter(\.isPlanned).map { values($0).indices.contains($0.bits) ? values($0)[$0.bits] : .nan }
        return list.isEmpty ? .nan : list.reduce(0, +)
      }
      var rows = [
        Row(
          name: "predicted", note: "for new samples", loss: totals.predictedLossChange, interval: totals.predictedInterval,
          shape: .circle, isPrediction: true),
        Row(
          name: "held out", note: "measured, \(grouped(totals.heldOutSamples)) samples", loss: totals.heldOutLoss,
          interval: totals.heldOutInterval, shape: .square),
        Row(name: "fitted", note: "measured, \(grouped(totals.samples)) samples", loss: totals.measuredLossChange, shape: .diamond),
      ]
      if runs.count == 1 {
        rows += [
          Row(name: "sum, measured", note: "tensors one by one", loss: sum(\.measuredLoss), shape: .triangle),
          Row(name: "sum, curvature", note: "tensors one by one", loss: sum(\.curvatureLoss), shape: .triangle, isPrediction: true),
          Row(name: "½ δᵀHδ", note: "all weights together", loss: secondOrder, shape: .triangle, isPrediction: true),
        ]
      }
      return (run.label, rows.filter { $0.loss > 0 })
    }.filter { !$0.1.isEmpty }
  }

  var figure: Figure? {
    guard !groups.isEmpty else { return nil }
    let values = groups.flatMap { group in group.rows.map { "\(group.label) \($0.name) \(scientific($0.loss))" } }
    return Figure(
      id: "prediction", title: "Predicted and measured loss of the whole plan",
      lead:
        "Loss (\(lossName), mean over samples) that the compressed model has and the original has not. Lines are intervals of 95 %; "
        + "filled marks are predicted, open ones measured. Held-out samples took no part in the rounding; fitted ones did, and lose less.",
      label: values.joined(separator: "; "),
      numbers: DataTable(
        caption: "Loss of the whole plan", columns: ["", "of", "loss", "low", "high"],
        rows: groups.flatMap { group in
          group.rows.map {
            [.text("\(group.label) \($0.name)"), .text($0.note), .loss($0.loss), .loss($0.interval.low), .loss($0.interval.high)]
          }
        }), draw: draw)
  }

  private func draw(_ width: Double) -> Drawing {
    let isWide = width > 500
    let rows = groups.flatMap { group in
      group.rows.enumerated().map { (label: $0.offset == 0 && groups.count > 1 ? group.label : "", row: $0.element) }
    }
    let step = isWide ? 30.0 : 44
    var drawing = Drawing(width: width, height: step * Double(rows.count) + 58)
    let left = (isWide ? 300.0 : 8) + (groups.count > 1 && isWide ? 40 : 0)
    let scale = Scale.covering(
      rows.flatMap { [$0.row.loss, $0.row.interval.low, $0.row.interval.high] }, .logarithmic, from: left,
      to: width - (isWide ? 90 : 76), air: 0.08)
    let bottom = step * Double(rows.count) + 12
    var last = -1.0
    for tick in scale.ticks(isWide ? 6 : 4) {
      let x = scale(tick)
      drawing.line(x, 6, x, bottom, "grid")
      let half = Double(tickText(tick).count) * Drawing.letter / 2
      guard x - half > last else { continue }
      drawing.text(tickText(tick), max(half, x), bottom + 18, .middle, "soft")
      last = x + half + 6
    }
    drawing.text("loss (\(lossName))", width - 2, bottom + 38, .end, "axis")
    for (index, entry) in rows.enumerated() {
      let row = entry.row
      let top = 8 + step * Double(index)
      let y = isWide ? top + 16 : top + 28
      let indent = groups.count > 1 ? (isWide ? 60.0 : 52) : 0
      drawing.text(entry.label, 0, isWide ? y + 4 : top + 12, .start, "strong")
      drawing.text(row.name, indent, isWide ? y + 4 : top + 12, .start, "strong")
      drawing.text(row.note, indent + (isWide ? 116 : 122), isWide ? y + 4 : top + 12, .start, "soft")
      let style = row.isPrediction ? "accent" : "open"
      var end = scale(row.loss) + 8
      if row.interval.low > 0 {
        drawing.line(scale(row.interval.low), y, scale(row.interval.high), y, row.isPrediction ? "whisker" : "whisker-soft")
        end = max(end, scale(row.interval.high))
      }
      drawing.mark(
        row.shape, scale(row.loss), y, 6, style, tip: "\(row.name), \(row.note): \(scientific(row.loss))\(row.interval.text)")
      drawing.text(power(row.loss), end + 8, y + 4, .start, "")
    }
    return drawing
  }
}
