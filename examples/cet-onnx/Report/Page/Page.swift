import CCet

/// The frame of a report: one file that needs nothing else and asks nobody.
struct Page {
  var title: String
  var lead: String
  var tiles: [(name: String, value: String, note: String)] = []
  var notes: [String] = []
  /// Sections with their titles for the list at the top.
  var sections: [(id: String, title: String, html: String)] = []
  var facts: [(name: String, value: String)] = []

  mutating func add(_ figure: Figure?) {
    if let figure { sections.append((figure.id, figure.title, figure.html)) }
  }

  mutating func add(_ figures: [Figure]) { for figure in figures { add(figure) } }

  var html: String {
    let version = escaped(String(cString: cet_version_string()))
    let list = (self.sections.map { ($0.id, $0.title) } + [("about", "About this report")])
      .map { "<li><a href=\"#\($0.0)\">\(escaped($0.1))</a></li>" }.joined()
    let tiles = tiles.map {
      "<div><dt>\(escaped($0.name))</dt><dd><strong>\(escaped($0.value))</strong><span>\(escaped($0.note))</span></dd></div>"
    }.joined()
    let facts = facts.map { "<tr><th scope=\"row\">\(escaped($0.name))</th><td>\(escaped($0.value))</td></tr>" }.joined(separator: "\n")
    var tips = Tips()
    let sections = sections.map { tips.numbered($0.html) }.joined(separator: "\n")
    return """
      <!DOCTYPE html>
      <html lang="en">
      <head>
      <meta charset="utf-8">
      <meta name="generator" content="libcet \(version)">
      <meta name="viewport" content="width=device-width, initial-scale=1">
      <meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
      <title>\(escaped(title)): compression report</title>
      <style>
      \(Page.style)
      </style>
      </head>
      <body>
      <a class="skip" href="#main">To the figures</a>
      <header>
      <h1>\(escaped(title))</h1>
      <p class="lead">\(escaped(lead))</p>
      \(tiles.isEmpty ? "" : "<dl class=\"tiles\">\(tiles)</dl>")
      \(notes.isEmpty ? "" : "<ul class=\"notes\">\(notes.map { "<li>\(escaped($0))</li>" }.joined())</ul>")
      <nav aria-label="Contents"><ul>\(list)</ul></nav>
      </header>
      <main id="main">
      \(sections)
      <section id="about" aria-labelledby="about-title">
      <h2 id="about-title">About this report</h2>
      <table class="facts"><tbody>
      \(facts)
      </tbody></table>
      </section>
      </main>
      <footer><p>Points of the figures are read by pointing at them, or with the arrow keys once a figure has the focus.</p></footer>
      <div id="tip" role="status" hidden></div>
      \(tips.list)
      <script>
      \(Page.script)
      </script>
      </body>
      </html>

      """
  }
}
