/// A picture of the report: what it shows in words, a drawing for wide and one for narrow screens, and its numbers.
struct Figure {
  var id: String
  var title: String
  /// What there is to see.
  var lead: String
  /// The picture in a sentence, for who cannot see it.
  var label: String
  var numbers: DataTable?
  /// Draws for a width.
  var draw: (Double) -> Drawing

  /// Text keeps its size on every screen: a phone gets a drawing of its own.
  static let wide = 760.0
  static let narrow = 340.0

  var html: String {
    let list = numbers.map { "<details><summary>Numbers of this figure</summary>\($0.html)</details>" } ?? ""
    return """
      <section id="\(id)" aria-labelledby="\(id)-title">
      <h2 id="\(id)-title">\(escaped(title))</h2>
      <p>\(escaped(lead))</p>
      <figure>\(draw(Figure.wide).svg(label: label, kind: "wide"))\(draw(Figure.narrow).svg(label: label, kind: "narrow"))</figure>
      \(list)
      </section>
      """
  }
}

/// Rows and columns as HTML; numbers are aligned right.
struct DataTable {
  struct Cell {
    var text: String
    /// What rows are sorted by; nil: the text.
    var value: Double?
    var isNumber = false
    /// Markup in place of the text.
    var markup: String?

    static func text(_ text: String) -> Cell { Cell(text: text) }
    static func number(_ text: String, _ value: Double) -> Cell { Cell(text: text, value: value, isNumber: true) }
    static func bytes(_ value: UInt64) -> Cell { .number(grouped(value), Double(value)) }
    static func loss(_ value: Double) -> Cell { .number(scientific(value), value) }
  }

  var caption: String
  var columns: [String]
  var rows: [[Cell]]

  var html: String {
    let numeric = columns.indices.map { index in rows.first.map { $0.indices.contains(index) && $0[index].isNumber } ?? false }
    let head = zip(columns, numeric).map { "<th scope=\"col\"\($1 ? " class=\"num\"" : "")>\(escaped($0))</th>" }.joined()
    return
      "<div class=\"box\" tabindex=\"0\" role=\"region\" aria-label=\"\(escaped(caption))\"><table><caption>\(escaped(caption))</caption>"
      + "<thead><tr>\(head)</tr></thead><tbody>\n\(rows.map(row).joined(separator: "\n"))\n</tbody></table></div>"
  }

  private func row(_ cells: [Cell]) -> String {
    "<tr>"
      + cells.enumerated().map { index, cell in
        let open = index == 0 ? "th scope=\"row\"" : "td"
        let value = cell.value.map { $0.isFinite ? " data-v=\"\($0)\"" : " data-v=\"\"" } ?? ""
        return
          "<\(open)\(cell.isNumber ? " class=\"num\"" : "")\(value)>\(cell.markup ?? escaped(cell.text))</\(index == 0 ? "th" : "td")>"
      }.joined() + "</tr>"
  }
}
