/// Activations of two plans side by side.
struct ActivationDifference {
  /// Those with other bits or another range; nil: one plan does not have it.
  private let changed: [(name: String, before: ActivationLine?, after: ActivationLine?)]
  private let before: [ActivationLine]
  private let after: [ActivationLine]

  init(before: [ActivationLine], after: [ActivationLine]) {
    (self.before, self.after) = (before, after)
    let later = Dictionary(after.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    let known = Set(before.map(\.name))
    changed =
      before.filter { line in later[line.name].map { !ActivationDifference.areAlike(line, $0) } ?? true }
      .map { ($0.name, $0, later[$0.name]) } + after.filter { !known.contains($0.name) }.map { ($0.name, nil, $0) }
  }

  private static func areAlike(_ a: ActivationLine, _ b: ActivationLine) -> Bool {
    a.bits == b.bits && (!a.isRounded || a.scale == b.scale && a.zeroPoint == b.zeroPoint)
  }

  /// "" where nothing differs.
  var table: String {
    guard !changed.isEmpty else { return "" }
    var table = Table([("activation", .left), ("bits", .right), ("range", .left), ("loss change", .right)])
    for (name, before, after) in changed {
      let loss = (after?.predictedLossChange ?? .nan) - (before?.predictedLossChange ?? .nan)
      let ranges = [before, after].compactMap { $0?.rangeText }
      table.add([
        name, "\(before?.bitsText ?? "none") -> \(after?.bitsText ?? "none")",
        ranges.count == 2 && ranges[0] != ranges[1] ? "\(ranges[0]) -> \(ranges[1])" : ranges.last ?? "",
        loss.isFinite ? String(format: "%+.2e", loss) : "-",
      ])
    }
    return table.text + "\n"
  }

  /// Of a summary; none where neither plan rounds activations.
  var lines: [(name: String, value: String)] {
    guard !before.isEmpty || !after.isEmpty else { return [] }
    func words(_ lines: [ActivationLine]) -> String { lines.isEmpty ? "none" : lines.summary }
    return [
      ("activations", "\(changed.count) differ, \(before.count - changed.filter { $0.before != nil }.count) are the same"),
      ("", words(before) + " ->"), ("", words(after)),
    ]
  }

  var json: JSONText {
    func activation(_ line: ActivationLine?) -> JSONText { line.map { .object($0.members) } ?? .null }
    return .array(
      changed.map { .object([("name", .string($0.name)), ("before", activation($0.before)), ("after", activation($0.after))]) })
  }
}
