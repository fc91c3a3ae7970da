/// The activations that the file rounds while it runs: of a single run with the loss of each alone, of several, whose bits may
/// differ, the bits of each.
struct ActivationTable {
  var runs: [(label: String, activations: [ActivationLine])]

  /// "" where no plan rounds any.
  var html: String {
    guard let first = runs.first?.activations, !first.isEmpty else { return "" }
    let isSingle = runs.count == 1
    let others = runs.map { run in Dictionary(run.activations.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first }) }
    let table = DataTable(
      caption: "Activations, in the graph's order",
      columns: ["activation"] + runs.map { isSingle ? "bits" : "bits \($0.label)" } + ["elements"] + (isSingle ? ["range"] : [])
        + (isSingle ? ["loss alone", "measured", "by curvature"] : []),
      rows: first.map { line in
        [.text(line.name)]
          + others.map { run in run[line.name].map { .number($0.bitsText, Double($0.bits)) } ?? .number("–", .nan) }
          + [.number(grouped(line.elements), Double(line.elements))] + (isSingle ? [.text(line.rangeText)] : [])
          + (isSingle ? [.loss(line.predictedLossChange), .loss(line.measuredLoss), .loss(line.curvatureLoss)] : [])
      })
    let text = """
      \(first.summary). Loss alone is the entry of the table that the choice rests on, with only this activation rounded; measured is
      the same at temperature 1, beside what curvature says of it.
      """
    return """
      <section id="activations" aria-labelledby="activations-title">
      <h2 id="activations-title">Activations</h2>
      \(isSingle ? "<p>\(escaped(text))</p>" : "")
      \(table.html)
      </section>
      """
  }
}
