import ArgumentParser

struct DiffCommand: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "diff", abstract: "What one plan gives otherwise than another.")

  @Argument(help: ArgumentHelp("A plan.", valueName: "a.json")) var first: String
  @Argument(help: ArgumentHelp("The plan to compare with it.", valueName: "b.json")) var second: String
  @OptionGroup var show: OutputArguments

  func run() throws {
    let files = try RunFiles(reads: [("a.json", first), ("b.json", second)])
    let (a, b) = (try files.plan(first), try files.plan(second))
    let difference = PlanDifference(
      before: (try a.totals(), try a.tensors()), after: (try b.totals(), try b.tensors()),
      activations: ActivationDifference(before: try a.activations(), after: try b.activations()))
    try show.show(json: difference.json, text: difference.text)
  }
}

/// Two plans side by side.
private struct PlanDifference {
  private let before: PlanTotals
  private let after: PlanTotals
  /// Tensors with other bits or codes; nil: one plan does not have it.
  private var changed: [(name: String, before: TensorLine?, after: TensorLine?)] = []
  private var sameCount = 0
  private let activations: ActivationDifference

  init(before: (PlanTotals, [TensorLine]), after: (PlanTotals, [TensorLine]), activations: ActivationDifference) {
    self.activations = activations
    (self.before, self.after) = (before.0, after.0)
    let later = Dictionary(after.1.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    let known = Set(before.1.map(\.name))
    for tensor in before.1 {
      let other = later[tensor.name]
      if let other, other.bits == tensor.bits, !tensor.isPlanned || other.coding == tensor.coding {
        sameCount += 1
      } else {
        changed.append((tensor.name, tensor, other))
      }
    }
    for tensor in after.1 where !known.contains(tensor.name) { changed.append((tensor.name, nil, tensor)) }
  }

  var text: String {
    var table = Table([
      ("tensor", .left), ("node", .left), ("op", .left), ("bits", .right), ("", .left), ("bytes", .right), ("loss change", .right),
    ])
    for (name, before, after) in changed {
      let loss = (after?.predictedLossChange ?? .nan) - (before?.predictedLossChange ?? .nan)
      table.add([
        name, (after ?? before)?.node ?? "", (after ?? before)?.operatorType ?? "", bits(before) + " -> " + bits(after), codings(before, after), signed(bytes(after) - bytes(before)),
        loss.isFinite ? String(format: "%+.2e", loss) : "-",
      ])
    }
    var lines = zip(words(before), words(after)).filter { $0.1 != $1.1 }.map { (name: $0.0, value: "\($0.1) -> \($1.1)") }
    lines += [
      ("mean bits", "\(fixed(before.meanBits, 3)) -> \(fixed(after.meanBits, 3))"),
      ("whole file", "\(size(before)) -> \(size(after))"),
      ("predicted loss", "\(scientific(before.predictedLossChange)) -> \(scientific(after.predictedLossChange))"),
      ("tensors", "\(changed.count) differ, \(sameCount) are the same"),
    ]
    lines += activations.lines
    return (changed.isEmpty ? "" : table.text + "\n") + activations.table + listing(lines)
  }

  var json: JSONText {
    func plan(_ totals: PlanTotals) -> JSONText {
      .object(
        words(totals).map { ($0.0, .string($0.1)) } + [
          ("mean_bits", .number(totals.meanBits)), ("file_bytes", totals.fileBytes == 0 ? .null : .integer(totals.fileBytes)),
          ("predicted_loss_change", .number(totals.predictedLossChange)),
        ])
    }
    func tensor(_ line: TensorLine?) -> JSONText {
      guard let line else { return .null }
      return .object([
        ("bits", .integer(UInt64(line.bits))), ("coding", .string(line.coding)), ("stored_bytes", .integer(line.storedBytes)),
        ("predicted_loss_change", .number(line.predictedLossChange)),
      ])
    }
    return .object([
      ("command", .string("diff")), ("before", plan(before)), ("after", plan(after)), ("same", .integer(UInt64(sameCount))),
      (
        "tensors",
        .array(
          changed.map {
            let either = $0.after ?? $0.before
            return .object([
              ("name", .string($0.name)), ("node", .string(either?.node ?? "")), ("operator", .string(either?.operatorType ?? "")),
              ("before", tensor($0.before)), ("after", tensor($0.after)),
            ])
          })
      ),
      ("activations", activations.json),
    ])
  }

  private func words(_ totals: PlanTotals) -> [(String, String)] {
    [
      ("model", totals.modelSHA256), ("method", totals.method), ("loss", totals.loss), ("rounding", totals.rounding),
      ("granularity", totals.granularity), ("encoding", totals.encoding), ("seed", String(totals.seed)), ("samples", String(totals.samples)),
    ]
  }

  private func bits(_ tensor: TensorLine?) -> String {
    guard let tensor else { return "none" }
    return tensor.isPlanned ? String(tensor.bits) : "float"
  }

  private func codings(_ before: TensorLine?, _ after: TensorLine?) -> String {
    let words = [before, after].compactMap { $0 }.filter(\.isPlanned).map(\.coding)
    return words.count == 2 && words[0] != words[1] ? "\(words[0]) -> \(words[1])" : words.last ?? ""
  }

  private func bytes(_ tensor: TensorLine?) -> Int64 { Int64(clamping: tensor?.storedBytes ?? 0) }
  private func signed(_ number: Int64) -> String { (number < 0 ? "-" : "+") + grouped(number.magnitude) }
  private func size(_ totals: PlanTotals) -> String { totals.fileBytes == 0 ? "not known" : "\(grouped(totals.fileBytes)) B" }
}
