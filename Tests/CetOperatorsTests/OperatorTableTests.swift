import CetOperators
import Glibc
import Testing

/// docs/operators.md lists the registry. It is written by
///   CET_WRITE_DOCS=1 swift test --filter OperatorTableTests
struct OperatorTableTests {
  @Test func operatorsDocument_isCurrent() throws {
    let path = #filePath.split(separator: "/").dropLast(3).reduce("") { $0 + "/" + $1 } + "/docs/operators.md"
    let text = document()
    if getenv("CET_WRITE_DOCS") != nil, let file = fopen(path, "w") {
      fputs(text, file)
      fclose(file)
    }
    #expect(read(path) == text, "docs/operators.md is stale: run CET_WRITE_DOCS=1 swift test --filter OperatorTableTests")
  }

  private func document() -> String {
    var text = """
      # Operators

      Generated from the operator registry by `CET_WRITE_DOCS=1 swift test --filter OperatorTableTests`; do not edit.

      *exact*: first and second derivatives are exact wherever they exist (at a kink one side is taken).
      *zero*: the operator is piecewise constant, its derivative is zero. Inputs that give shapes, axes, counts or
      conditions must be known for a batch: constants of the model, or computed from shapes.
      A model-local function is inlined and needs no entry here. Any other operator is refused by name before work starts.


      """
    for (domain, title) in [("", "ai.onnx"), ("com.microsoft", "com.microsoft")] {
      let entries = OperatorRegistry.entries.filter { $0.domain == domain }.sorted { $0.type < $1.type }
      text += "## \(title) (\(entries.count))\n\n| Operator | Operator sets | Derivatives |\n|---|---|---|\n"
      for entry in entries {
        let (low, high) = (entry.versions.lowerBound, entry.versions.upperBound)
        text += "| \(entry.type) | \(low == high ? "\(low)" : "\(low)–\(high)") | \(entry.derivatives.rawValue) |\n"
      }
      text += "\n"
    }
    return text
  }

  private func read(_ path: String) -> String {
    guard let file = fopen(path, "r") else { return "" }
    defer { fclose(file) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65536)
    while true {
      let count = fread(&chunk, 1, chunk.count, file)
      if count == 0 { return String(decoding: bytes, as: UTF8.self) }
      bytes += chunk[..<count]
    }
  }
}
