/// What points of figures say, each text once: both drawings of a figure, and several figures, have the same points.
struct Tips {
  private(set) var texts: [Substring] = []
  private var numbers: [Substring: Int] = [:]

  private static let attribute = " data-tip=\""

  /// The markup with numbers in place of texts.
  mutating func numbered(_ markup: String) -> String {
    var result = ""
    var rest = markup[...]
    while let start = rest.firstRange(of: Tips.attribute), let end = rest[start.upperBound...].firstIndex(of: "\"") {
      let text = rest[start.upperBound..<end]
      let number = numbers[text] ?? texts.count
      if number == texts.count {
        texts.append(text)
        numbers[text] = number
      }
      result += rest[..<start.upperBound] + String(number)
      rest = rest[end...]
    }
    return result + rest
  }

  /// For the script, which shows them; readers without it have the tables beneath the figures.
  var list: String { "<ul id=\"tips\" hidden>\(texts.map { "<li>\($0)</li>" }.joined(separator: "\n"))</ul>" }
}
