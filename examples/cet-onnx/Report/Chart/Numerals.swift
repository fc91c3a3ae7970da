import Glibc

/// 1.2 × 10⁻³, for people; "-" for a number that is not known.
func power(_ number: Double, digits: Int = 2) -> String {
  guard number.isFinite else { return "–" }
  guard number != 0 else { return "0" }
  if abs(number) >= 0.1, abs(number) < 10_000 { return plain(number, digits: digits) }
  let text = String(format: "%.*e", Int32(max(0, digits - 1)), number)
  guard let split = text.firstIndex(of: "e"), let exponent = Int(text[text.index(after: split)...]) else { return text }
  return "\(text[..<split]) × 10\(superscript(exponent))".replacing("-", with: "−")
}

/// At least `digits` digits that count.
private func plain(_ number: Double, digits: Int) -> String {
  let before = Int(floor(log10(abs(number)))) + 1
  return String(format: "%.*f", Int32(max(0, digits - before)), number).replacing("-", with: "−")
}

/// Of an axis: 0.01 to 1000 as they are, others as powers of ten.
func tickText(_ number: Double) -> String {
  let size = abs(number)
  guard number.isFinite else { return "–" }
  if number == 0 { return "0" }
  if size >= 0.01, size < 100_000 { return String(format: "%.6g", number).replacing("-", with: "−") }
  let exponent = Int(floor(log10(size) + 1e-9))
  let factor = number / pow(10, Double(exponent))
  let lead = abs(abs(factor) - 1) < 1e-6 ? (factor < 0 ? "−" : "") : String(format: "%.3g", factor) + "·"
  return "\(lead)10\(superscript(exponent))"
}

private func superscript(_ number: Int) -> String {
  let digits: [Character: Character] = [
    "0": "⁰", "1": "¹", "2": "²", "3": "³", "4": "⁴", "5": "⁵", "6": "⁶", "7": "⁷", "8": "⁸", "9": "⁹", "-": "⁻",
  ]
  return String(String(number).map { digits[$0] ?? $0 })
}

/// 23.9 kB: for labels; exact numbers stand in the tables.
func size(_ bytes: Double) -> String {
  for (unit, factor) in [("GB", 1e9), ("MB", 1e6), ("kB", 1e3)] where bytes >= factor {
    let value = bytes / factor
    return String(format: value >= 100 ? "%.0f" : value >= 10 ? "%.1f" : "%.2f", value) + " " + unit
  }
  return String(format: "%.0f B", bytes)
}

func percent(_ share: Double, _ digits: Int = 0) -> String {
  share.isFinite ? String(format: "%.*f %%", Int32(digits), 100 * share) : "–"
}

/// Both ends of a name that is too long: what tells names apart is often at one of them.
func shortened(_ text: String, to count: Int) -> String {
  guard text.count > count, count > 3 else { return text }
  let tail = (count - 1) * 3 / 5
  return text.prefix(count - 1 - tail) + "…" + text.suffix(tail)
}

func escaped(_ text: String) -> String {
  var result = ""
  for character in text.unicodeScalars {
    switch character {
    case "&": result += "&amp;"
    case "<": result += "&lt;"
    case ">": result += "&gt;"
    case "\"": result += "&quot;"
    // What HTML has no place for.
    case _ where character.value < 0x20 && character != "\n" && character != "\t": result += "\u{fffd}"
    default: result.unicodeScalars.append(character)
    }
  }
  return result
}
