import Glibc

/// How the written file's outputs differ from the original's.
struct AgreementFigure {
  var runs: [(label: String, agreement: Agreement)]

  var figure: Figure? {
    guard let first = runs.first else { return nil }
    let isSingle = runs.count == 1
    let rows = runs.flatMap { run in run.agreement.comparison.outputs.map { (run.label, $0) } }
    return Figure(
      id: "agreement", title: "Agreement with the original",
      lead:
        "Both models run on \(first.agreement.samples). \(isSingle ? words(rows) + " " : "")Bars count samples by the largest difference of any of their output values"
        + (runs.count > 1 ? ", at \(first.label)." : "."),
      label: rows.map { label, output in
        "\(label) \(output.name): largest difference \(scientific(output.largestDifference)), cosine \(fixed(output.cosine, 5))"
          + (output.agreement.map { ", top-1 agreement \(percent($0, 1))" } ?? "")
      }.joined(separator: "; "),
      numbers: table(rows), draw: { histogram($0, first.agreement.comparison.outputs.flatMap(\.sampleDifferences)) })
  }

  private func words(_ rows: [(String, Comparison.Output)]) -> String {
    rows.prefix(6).map { _, output in
      let name = rows.count > 1 ? output.name : ""
      return (name.isEmpty ? "" : "\(name): ")
        + (output.agreement.map { "Same largest class: \(percent($0, 1)); largest" } ?? "Largest")
        + " |Δ| \(power(output.largestDifference)) of values up to \(power(output.largestReference)); cosine \(fixed(output.cosine, 5))."
    }.joined(separator: " ")
  }

  private func table(_ rows: [(String, Comparison.Output)]) -> DataTable {
    DataTable(
      caption: "Agreement by output", columns: ["output", "top-1 agreement", "largest |Δ|", "largest |reference|", "cosine"],
      rows: rows.map { label, output in
        [
          .text(label.isEmpty ? output.name : "\(label) \(output.name)"),
          output.agreement.map { .number(percent($0, 2), $0) } ?? .number("–", .nan), .loss(output.largestDifference),
          .loss(output.largestReference), .number(fixed(output.cosine, 6), output.cosine),
        ]
      })
  }

  private func histogram(_ width: Double, _ values: [Double]) -> Drawing {
    let known = values.filter { $0 > 0 && $0.isFinite }
    let bins = width > 500 ? 24 : 14
    let span = Scale.covering(known, .logarithmic, from: 0, to: Double(bins), air: 0.02)
    var counts = [Int](repeating: 0, count: bins)
    for value in known { counts[min(bins - 1, Int(span(value)))] += 1 }
    var plot = Plot(
      width: width, height: 220, x: ([span.low, span.high], .logarithmic, "largest |Δ| of a sample"),
      y: ([0, Double(counts.max() ?? 1)], .linear, "samples"), isWhole: (false, true))
    func edge(_ index: Int) -> Double {
      pow(10, log10(span.low) + (log10(span.high) - log10(span.low)) * Double(index) / Double(bins))
    }
    for (index, count) in counts.enumerated() where count > 0 {
      let (from, to) = (plot.x(edge(index)), plot.x(edge(index + 1)))
      plot.drawing.rectangle(
        from, plot.y(Double(count)), to - from - 1, plot.y(0) - plot.y(Double(count)), "bar",
        tip: "\(count) samples: \(scientific(edge(index))) to \(scientific(edge(index + 1)))")
    }
    return plot.drawing
  }
}
