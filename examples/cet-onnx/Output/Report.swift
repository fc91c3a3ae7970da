/// A self-contained HTML page about one plan: no scripts, no other files.
struct Report {
  private let outcome: Outcome
  private var planned: [TensorLine] { outcome.tensors.filter(\.isPlanned) }

  init(_ outcome: Outcome) { self.outcome = outcome }

  var html: String {
    let name = escaped(outcome.input.split(separator: "/").last.map(String.init) ?? outcome.input)
    return """
      <!DOCTYPE html>
      <html lang="en">
      <head>
      <meta charset="utf-8">
      <meta name="generator" content="libcet \(escaped(outcome.totals.libraryVersion))">
      <meta name="viewport" content="width=device-width, initial-scale=1">
      <title>\(name): compression report</title>
      <style>\(Report.style)</style>
      </head>
      <body>
      <main>
      <h1>\(name)</h1>
      <p class="lead">\(lead)</p>
      <section>
      <h2>Summary</h2>
      \(summary)
      </section>
      <section>
      <h2>Size</h2>
      \(sizeChart)
      </section>
      <section>
      <h2>Bits per tensor</h2>
      <p>Bar length: bytes of the packed codes. Colour: bits.</p>
      \(bitsChart)
      </section>
      <section>
      <h2>Predicted and measured loss change</h2>
      <p>Each dot is one tensor at its chosen bits, quantized alone: predicted from curvature (half the quadratic form
      of the error) against measured with forward passes. Dots on the line agree.</p>
      \(lossChart)
      </section>
      <section>
      <h2>Tensors</h2>
      \(tensorTable)
      </section>
      <section>
      <h2>Sensitivity table</h2>
      <p>Loss change with only this tensor quantized, by bits: the table that the choice rests on (mean over held-out samples,
      kl at temperature 4; never rising with bits). The chosen entry is marked.</p>
      \(sensitivityTable)
      </section>
      <footer>libcet \(escaped(outcome.totals.libraryVersion)), model SHA-256 \(escaped(outcome.totals.modelSHA256)),
      seed \(outcome.totals.seed)</footer>
      </main>
      </body>
      </html>

      """
  }

  private var lead: String {
    let totals = outcome.totals
    return "\(grouped(totals.modelBytes)) bytes become \(grouped(totals.fileBytes)): "
      + "\(fixed(totals.ratioOfFiles))&times; smaller, \(fixed(totals.meanBits, 2)) bits per weight."
  }

  private var summary: String {
    let rows = outcome.summary.map { "<tr><th scope=\"row\">\(escaped($0.name))</th><td>\(escaped($0.value))</td></tr>" }
    let notes = outcome.notes.map { "<p class=\"note\">\(escaped($0))</p>" }
    return "<table class=\"facts\">\(rows.joined())</table>\(notes.joined())"
  }

  private var sizeChart: String {
    let totals = outcome.totals
    return BarChart(
      bars: [
        .init(label: "weights, float32", value: Double(totals.floatBytes), note: grouped(totals.floatBytes) + " B", tone: 0),
        .init(label: "codes", value: Double(totals.codeBytes), note: grouped(totals.codeBytes) + " B", tone: 3),
        .init(
          label: "codes and scales", value: Double(totals.storedBytes), note: grouped(totals.storedBytes) + " B", tone: 3),
        .init(label: "file before", value: Double(totals.modelBytes), note: grouped(totals.modelBytes) + " B", tone: 0),
        .init(
          label: "file after", value: Double(totals.fileBytes),
          note: grouped(totals.fileBytes) + " B", tone: 3),
      ]
    ).svg
  }

  private var bitsChart: String {
    BarChart(
      bars: planned.map {
        .init(label: $0.name, value: Double($0.codeBytes), note: "\($0.bits) bit, \(grouped($0.codeBytes)) B", tone: $0.bits)
      }
    ).svg
  }

  private var lossChart: String {
    let points = planned.compactMap { tensor -> ScatterChart.Point? in
      guard tensor.bits < tensor.measuredLoss.count else { return nil }
      let predicted = tensor.curvatureLoss[tensor.bits]
      let measured = tensor.measuredLoss[tensor.bits]
      guard predicted > 0, measured > 0 else { return nil }
      return .init(label: tensor.name, x: predicted, y: measured, tone: tensor.bits)
    }
    guard !points.isEmpty else {
      return "<p class=\"note\">This plan has no tensor with both values (method \(escaped(outcome.totals.method))).</p>"
    }
    return ScatterChart(points: points, xTitle: "predicted from curvature", yTitle: "measured").svg
  }

  private var tensorTable: String {
    table(
      ["tensor", "shape", "bits", "coding", "axis", "bytes", "loss change", "loss per byte", "reason"],
      outcome.tensors.map { tensor in
        [
          tensor.name, tensor.shapeText, tensor.isPlanned ? String(tensor.bits) : "float32", tensor.isPlanned ? tensor.coding : "-",
          tensor.axis < 0 ? "-" : String(tensor.axis), grouped(tensor.storedBytes),
          scientific(tensor.predictedLossChange), scientific(tensor.lossPerByte), tensor.reason,
        ].map { .init($0) }
      }, textColumns: [0, 3, 8])
  }

  private var sensitivityTable: String {
    let widths = (1...8).filter { bits in planned.contains { !$0.sensitivity[bits].isNaN } }
    guard !widths.isEmpty else { return "<p class=\"note\">This plan has no table of losses.</p>" }
    return table(
      ["tensor"] + widths.map { "\($0) bits" },
      planned.map { tensor in
        [Cell(tensor.name)]
          + widths.map { Cell(scientific(tensor.sensitivity[$0]), isMarked: tensor.bits == $0) }
      }, textColumns: [0])
  }

  private struct Cell {
    var text: String
    var isMarked = false
    init(_ text: String, isMarked: Bool = false) {
      self.text = text
      self.isMarked = isMarked
    }
  }

  private func table(_ titles: [String], _ rows: [[Cell]], textColumns: Set<Int>) -> String {
    func kind(_ index: Int) -> String { textColumns.contains(index) ? "" : " class=\"number\"" }
    let head = titles.enumerated().map { "<th scope=\"col\"\(kind($0))>\(escaped($1))</th>" }.joined()
    let body = rows.map { row in
      "<tr>"
        + row.enumerated().map { index, cell in
          "<td\(kind(index))>\(cell.isMarked ? "<mark>\(escaped(cell.text))</mark>" : escaped(cell.text))</td>"
        }.joined() + "</tr>"
    }.joined(separator: "\n")
    return "<div class=\"wide\"><table><thead><tr>\(head)</tr></thead><tbody>\n\(body)\n</tbody></table></div>"
  }

  private static let style = """
    :root { color-scheme: light dark; --ink: #1d2330; --soft: #5b6475; --paper: #fff; --line: #d9dee7; --mark: #fff0b8; }
    @media (prefers-color-scheme: dark) {
      :root { --ink: #e7eaf0; --soft: #9aa4b5; --paper: #14171d; --line: #323947; --mark: #5c4d12; }
    }
    body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
    main { max-width: 1000px; margin: 0 auto; padding: 24px; }
    h1 { font-size: 1.7em; margin: 0; } h2 { font-size: 1.15em; margin: 2em 0 .5em; }
    .lead { font-size: 1.1em; color: var(--soft); margin-top: .3em; } p { max-width: 75ch; color: var(--soft); }
    table { border-collapse: collapse; } th, td { padding: 3px 14px 3px 0; text-align: left; vertical-align: top; }
    thead th { border-bottom: 2px solid var(--line); } tbody td, .facts th, .facts td { border-bottom: 1px solid var(--line); }
    .facts th { font-weight: 600; white-space: nowrap; } .number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
    .wide { overflow-x: auto; } mark { background: var(--mark); color: inherit; padding: 0 3px; border-radius: 3px; }
    .note { border-left: 3px solid var(--line); padding-left: 10px; }
    svg { max-width: 100%; height: auto; display: block; } svg text { fill: var(--ink); font: 12px system-ui, sans-serif; }
    svg .soft { fill: var(--soft); } svg .grid { stroke: var(--line); }
    footer { margin-top: 3em; color: var(--soft); font-size: .85em; overflow-wrap: anywhere; }
    """
}

func escaped(_ text: String) -> String {
  var result = ""
  for character in text {
    switch character {
    case "&": result += "&amp;"
    case "<": result += "&lt;"
    case ">": result += "&gt;"
    case "\"": result += "&quot;"
    default: result.append(character)
    }
  }
  return result
}
