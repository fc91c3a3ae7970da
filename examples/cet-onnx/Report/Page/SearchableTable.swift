/// A section with a table that sorts and can be searched; one a page.
struct SearchableTable {
  /// Of the section.
  var id: String
  var title: String
  /// HTML of a paragraph.
  var lead: String
  /// What can be searched for.
  var hint: String
  var columns: [(title: String, isNumber: Bool)]
  /// Cells of each row, HTML.
  var rows: [String]

  var html: String {
    let head = columns.map { title, isNumber in
      "<th scope=\"col\"\(isNumber ? " class=\"num\"" : "") aria-sort=\"none\"><button type=\"button\">\(escaped(title))<span aria-hidden=\"true\"></span></button></th>"
    }.joined()
    return """
      <section id="\(id)" aria-labelledby="\(id)-title">
      <h2 id="\(id)-title">\(escaped(title))</h2>
      <p>\(lead)</p>
      <p class="tools"><label for="search">Search</label> <input id="search" type="search" autocomplete="off" placeholder="\(escaped(hint))">
      <span id="found" role="status">\(rows.count) of \(rows.count)</span></p>
      <div class="box" tabindex="0" role="region" aria-labelledby="\(id)-title"><table id="table">
      <thead><tr>\(head)</tr></thead>
      <tbody>
      \(rows.map { "<tr>\($0)</tr>" }.joined(separator: "\n"))
      </tbody></table></div>
      </section>
      """
  }

  static func number(_ text: String, _ value: Double) -> String {
    "<td class=\"num\" data-v=\"\(value.isFinite ? "\(value)" : "")\">\(text)</td>"
  }

  /// - Parameter bits: nil: float.
  static func bits(_ bits: Int?) -> String {
    number("<i class=\"chip \(style(bits ?? 32))\"></i>\(bits.map(String.init) ?? "float")", Double(bits ?? 32))
  }

  /// What a tensor is called, and its own name below where that is another.
  static func tensor(_ title: String, _ name: String) -> String {
    let subtitle = title == name ? "" : "<small>\(escaped(name))</small>"
    return "<th scope=\"row\"><span>\(escaped(title))</span>\(subtitle)</th>"
  }
}
