import Glibc

/// Theory against practice, tensor by tensor and width by width: what curvature predicts, what forward passes measure, and
/// the gap between them (Eq. 7, Figure 2 of the paper).
struct TheoryFigure {
  private struct Point {
    var tensor: TensorLine
    var bits: Int
    var theory: Double
    var practice: Double
    var gap: Double { abs(theory - practice) }
    var isChosen: Bool { tensor.bits == bits }
  }

  private let points: [Point]
  /// Below this gap the paper calls a prediction exact.
  private static let threshold = 1e-3

  init(_ tensors: [TensorLine]) {
    points = tensors.filter(\.isPlanned).flatMap { tensor in
      (1...8).compactMap { bits in
        let (theory, practice) = (tensor.curvatureLoss[bits], tensor.measuredLoss[bits])
        return theory > 0 && practice > 0 ? Point(tensor: tensor, bits: bits, theory: theory, practice: practice) : nil
      }
    }
  }

  var figures: [Figure] {
    guard !points.isEmpty else { return [] }
    let close = points.count { $0.gap <= TheoryFigure.threshold || $0.gap <= 0.1 * $0.practice }
    return [
      Figure(
        id: "theory", title: "Theory against practice",
        lead:
          "Each point is one tensor at one width, quantized alone: loss predicted from curvature (gᵀδ + ½ δᵀHδ) and loss measured with forward "
          + "passes. On the line both agree. Ringed points are the widths that were chosen. "
          + "\(grouped(UInt64(close))) of \(grouped(UInt64(points.count))) agree within 10⁻³ or 10 %.",
        label:
          "Measured against predicted loss of \(points.count) tensors and widths; \(close) agree within a thousandth or ten per cent.",
        numbers: numbers, draw: scatter),
      Figure(
        id: "gap", title: "Where second order ends",
        lead:
          "The gap between predicted and measured loss (Eq. 7; Figure 2 of the paper) by bits. Bars are medians; below the dashed line, "
          + "10⁻³, a prediction counts as exact.",
        label: medians.map { "\($0.bits) bits: median gap \(scientific($0.gap))" }.joined(separator: "; "),
        numbers: DataTable(
          caption: "Median gap by bits", columns: ["bits", "tensors", "median gap"],
          rows: medians.map { [.text(String($0.bits)), .bytes(UInt64($0.count)), .loss($0.gap)] }), draw: gaps),
    ]
  }

  private var medians: [(bits: Int, count: Int, gap: Double)] {
    Dictionary(grouping: points, by: \.bits).map { bits, list in
      let sorted = list.map(\.gap).sorted()
      return (bits, list.count, (sorted[(sorted.count - 1) / 2] + sorted[sorted.count / 2]) / 2)
    }.sorted { $0.bits < $1.bits }
  }

  private func tip(_ point: Point) -> String {
    "\(point.tensor.title), \(point.tensor.name), \(point.bits) bits: predicted \(scientific(point.theory)), measured \(scientific(point.practice))"
  }

  private func scatter(_ width: Double) -> Drawing {
    let values = points.flatMap { [$0.theory, $0.practice] }
    var plot = Plot(
      width: min(width, 620), height: min(width, 620) * 0.8 + 40, x: (values, .logarithmic, "predicted from curvature"),
      y: (values, .logarithmic, "measured"))
    plot.line([(plot.x.low, plot.x.low), (plot.x.high, plot.x.high)], "reference")
    let radius = width > 500 ? 4.5 : 3.5
    for point in points.sorted(by: { !$0.isChosen && $1.isChosen }) {
      plot.mark(
        .circle, (point.theory, point.practice), radius, style(point.bits) + (point.isChosen ? " ring" : ""), tip: tip(point))
    }
    // Widths are named at their middles, where there is one place for each.
    var taken: [Double] = []
    for median in medians {
      let list = points.filter { $0.bits == median.bits }.sorted { $0.theory < $1.theory }
      let point = list[list.count / 2]
      let y = plot.y(point.practice)
      guard !taken.contains(where: { abs($0 - y) < 15 }) else { continue }
      taken.append(y)
      plot.drawing.text(
        median.bits == 1 ? "1 bit" : "\(median.bits) bits", min(plot.x(point.theory) + 34, plot.drawing.width - 46), min(y + 18, plot.y.start - 6), .start,
        "halo")
    }
    return plot.drawing
  }

  private func gaps(_ width: Double) -> Drawing {
    let known = points.filter { $0.gap > 0 }
    let list = medians
    var plot = Plot(
      width: width, height: 280, x: ([0.5, Double(list.count) + 0.5], .linear, "bits"),
      y: (known.map { max($0.gap, 1e-12) } + [TheoryFigure.threshold * 2], .logarithmic, "gap |predicted − measured|"),
      isWhole: (true, false), xText: { list.indices.contains(Int($0) - 1) ? String(list[Int($0) - 1].bits) : "" })
    plot.drawing.line(plot.x.start, plot.y(TheoryFigure.threshold), plot.x.end, plot.y(TheoryFigure.threshold), "reference")
    plot.drawing.text("10⁻³", plot.x.end, plot.y(TheoryFigure.threshold) - 6, .end, "soft halo")
    for (index, median) in list.enumerated() {
      let column = known.filter { $0.bits == median.bits }
      for (place, point) in column.enumerated() {
        let shift = column.count > 1 ? (Double(place) / Double(column.count - 1) - 0.5) * 0.6 : 0
        plot.mark(.circle, (Double(index + 1) + shift, max(point.gap, 1e-12)), 3.5, style(point.bits), tip: tip(point))
      }
      let y = plot.y(max(median.gap, 1e-12))
      plot.drawing.line(plot.x(Double(index) + 0.62), y, plot.x(Double(index) + 1.38), y, "median")
    }
    return plot.drawing
  }

  private var numbers: DataTable {
    DataTable(
      caption: "Predicted and measured loss", columns: ["tensor", "bits", "predicted", "measured", "gap"],
      rows: points.map {
        [.text($0.tensor.name), .number(String($0.bits), Double($0.bits)), .loss($0.theory), .loss($0.practice), .loss($0.gap)]
      })
  }
}
