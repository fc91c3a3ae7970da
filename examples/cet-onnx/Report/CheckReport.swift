import CCet

/// A report about a written file alone, or beside its original.
struct CheckReport {
  var input: String
  var bytes: UInt64
  var description: ModelDescription
  /// Of the model to compare with.
  var otherBytes: UInt64?
  var agreement: Agreement?

  var html: String {
    var page = Page(
      title: input.split(separator: "/").last.map(String.init) ?? input,
      lead: "\(grouped(bytes)) bytes, opset \(description.opsetText), \(description.operatorText)."
        + (otherBytes.map { " The model that it is compared with has \(grouped($0)) bytes." } ?? ""))
    if let otherBytes {
      page.tiles.append(
        (
          "file", size(Double(bytes)),
          "of \(size(Double(otherBytes))): \(fixed(Double(otherBytes) / Double(max(1, bytes))))× smaller"
        ))
    }
    if let agreement {
      for output in agreement.comparison.outputs.prefix(1) {
        if let share = output.agreement { page.tiles.append(("top-1 agreement", percent(share, 1), "on \(agreement.samples)")) }
        page.tiles.append(("largest |Δ|", power(output.largestDifference), "of values up to \(power(output.largestReference))"))
        page.tiles.append(("cosine", fixed(output.cosine, 5), "of outputs with the original's"))
      }
      page.add(AgreementFigure(runs: [("", agreement)]).figure)
    }
    let table = SearchableTable(
      id: "weights", title: "Bits of the file", lead: "Weight tensors of the file, in graph order, by the nodes that read them. Head cells sort.",
      hint: "name, node, operator, bits", columns: [("tensor", false), ("bits", true), ("weights", true)],
      rows: description.weights.map { weight in
        let (node, operatorType) = description.reader(of: weight.name)
        return SearchableTable.tensor(node.isEmpty ? weight.name : "\(node) · \(operatorType)", weight.name)
          + SearchableTable.bits(weight.bits) + SearchableTable.number(grouped(weight.count), Double(weight.count))
      })
    if !table.rows.isEmpty { page.sections.append((table.id, table.title, table.html)) }
    page.facts = [
      ("command line", Page.commandLine), ("file", input), ("library", "libcet \(String(cString: cet_version_string()))"),
      ("SHA-256", description.sha256), ("opset", description.opsetText), ("operators", description.operatorText),
    ]
    return page.html
  }
}
