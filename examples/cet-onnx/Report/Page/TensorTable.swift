/// All tensors, with a sentence for each why it has its bits.
struct TensorTable {
  var runs: [(label: String, outcome: Outcome)]

  var html: String {
    guard let first = runs.first else { return "" }
    let explanations = Explanation.all(first.outcome.tensors, first.outcome.totals)
    let isSingle = runs.count == 1
    var columns: [(title: String, isNumber: Bool)] = [("#", true), ("tensor", false)]
    columns += runs.map { (isSingle ? "bits" : "bits \($0.label)", true) }
    columns += isSingle ? [("coding", false)] : []
    columns += [("shape", false), ("weights", true), ("bytes", true), ("loss alone", true)]
    columns += isSingle ? [("one less", true), ("one more", true), ("why", false)] : []
    return SearchableTable(
      id: "tensors", title: "Tensors",
      lead: "Loss alone is the entry of the sensitivity table that the choice rests on: the loss with only this tensor quantized. One less and "
        + "one more are the change of the whole plan's loss at the next smaller and larger width. Head cells sort.",
      hint: "name, node, operator, bits", columns: columns, rows: explanations.enumerated().map { row($0.offset, $0.element, isSingle) }
    ).html
  }

  private func row(_ index: Int, _ explanation: Explanation, _ isSingle: Bool) -> String {
    let tensor = explanation.tensor
    let number = SearchableTable.number
    func step(_ step: Explanation.Step?) -> String {
      guard let step else { return number("–", .nan) }
      return number(
        String(format: abs(step.share) >= 10 ? "%+.0f %%" : "%+.1f %%", 100 * step.share).replacing("-", with: "−"), step.share)
    }
    var cells = [number(String(index + 1), Double(index)), SearchableTable.tensor(tensor.title, tensor.name)]
    cells += runs.map { $0.outcome.tensors[index] }.map { SearchableTable.bits($0.isPlanned ? $0.bits : nil) }
    if isSingle { cells.append("<td>\(tensor.isPlanned ? escaped(tensor.coding) : "–")</td>") }
    cells += [
      "<td class=\"nowrap\">\(escaped(tensor.shapeText.replacing("x", with: "×")))</td>",
      number(grouped(tensor.count), Double(tensor.count)),
    ]
    cells += [
      number(grouped(tensor.storedBytes), Double(tensor.storedBytes)),
      number(scientific(tensor.predictedLossChange), tensor.predictedLossChange),
    ]
    if isSingle {
      cells += [step(explanation.fewer), step(explanation.more), "<td class=\"why\">\(escaped(explanation.text))</td>"]
    }
    return cells.joined()
  }
}

/// The whole table that choices rest on.
struct SensitivityTable {
  var tensors: [TensorLine]

  var html: String {
    let planned = tensors.filter(\.isPlanned)
    let widths = (1...8).filter { bits in planned.contains { !$0.sensitivity[bits].isNaN } }
    guard !widths.isEmpty else { return "" }
    let table = DataTable(
      caption: "Loss with only this tensor quantized, by bits",
      columns: ["tensor"] + widths.map { $0 == 1 ? "1 bit" : "\($0) bits" },
      rows: planned.map { tensor in
        [.text(tensor.name)]
          + widths.map { bits in
            var cell = DataTable.Cell.loss(tensor.sensitivity[bits])
            if bits == tensor.bits { cell.markup = "<mark>\(escaped(cell.text))</mark>" }
            return cell
          }
      })
    return """
      <section id="sensitivity" aria-labelledby="sensitivity-title">
      <h2 id="sensitivity-title">Sensitivity table</h2>
      <p>Mean over held-out samples and their moved copies, kl at temperature 4, never rising with bits. The chosen entries are marked.</p>
      <details><summary>Show the table</summary>\(table.html)</details>
      </section>
      """
  }
}
