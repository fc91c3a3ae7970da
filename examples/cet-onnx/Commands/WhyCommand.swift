import ArgumentParser

struct WhyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "why", abstract: "Why a tensor or an activation has its bits, and what other bits would do.")

  @Argument(help: ArgumentHelp("The tensor: its initializer, or the node that reads it; or a rounded activation.", valueName: "name")) var name: String
  @Argument(help: ArgumentHelp("The plan.", valueName: "plan.json")) var plan: String
  @OptionGroup var show: OutputArguments

  func run() throws {
    let plan = try RunFiles(reads: [("the plan", plan)]).plan(plan)
    let (tensors, totals, activations) = (try plan.tensors(), try plan.totals(), try plan.activations())
    guard let index = tensors.firstIndex(where: { $0.name == name }) ?? tensors.firstIndex(where: { $0.node == name }) else {
      if let index = activations.firstIndex(where: { $0.name == name }) {
        let answer = ActivationAnswer(activations, index)
        return try show.show(json: answer.json, text: answer.text)
      }
      let names = tensors.map(\.name) + activations.map(\.name)
      let likely = nearest(to: name, among: names) ?? names.first { $0.contains(name) }
      throw Failure(
        usage: "the plan has no tensor\(activations.isEmpty ? "" : " and no activation") '\(name)'" + (likely.map { ": did you mean '\($0)'?" } ?? " (\(names.count), such as '\(names.first ?? "")')"))
    }
    let answer = Answer(tensors, index, totals)
    try show.show(json: answer.json, text: answer.text)
  }
}

/// What a plan knows about one tensor's bits.
private struct Answer {
  struct Choice {
    var bits: Int
    /// Of this tensor quantized alone.
    var loss: Double
    var lossChange: Double
    var byteChange: Int64
  }

  private let tensor: TensorLine
  private let explanation: Explanation
  private let choices: [Choice]
  /// Among the planned tensors by the loss at their bits, from 1; nil: not planned, or no loss is known.
  private let rank: Int?
  private let planned: Int

  init(_ tensors: [TensorLine], _ index: Int, _ totals: PlanTotals) {
    tensor = tensors[index]
    explanation = Explanation.all(tensors, totals)[index]
    let now = tensor.predictedLossChange
    // Scales stay as they are.
    let tensor = tensor
    func codeBytes(_ bits: Int) -> Double {
      Double(tensor.codeBytes) * Double(Explanation.storedBits(bits, totals.encoding)) / Double(Explanation.storedBits(tensor.bits, totals.encoding))
    }
    choices = !tensor.isPlanned ? [] : (1...8).filter { tensor.sensitivity[$0].isFinite }.map { bits in
      Choice(
        bits: bits, loss: tensor.sensitivity[bits], lossChange: tensor.sensitivity[bits] - now,
        byteChange: Int64((codeBytes(bits) - codeBytes(tensor.bits)).rounded()))
    }
    let known = tensors.filter { $0.isPlanned && $0.predictedLossChange.isFinite }
    planned = known.count
    rank = tensor.isPlanned && now.isFinite ? 1 + known.filter { $0.predictedLossChange > now }.count : nil
  }

  var text: String {
    var entries = [("tensor", tensor.name), ("shape", tensor.shapeText)]
    if !tensor.node.isEmpty { entries.append(("node", "\(tensor.node), \(tensor.operatorType)")) }
    entries.append(("why", explanation.text))
    if let rank {
      entries.append(("loss", "\(scientific(tensor.predictedLossChange)) when quantized alone, rank \(rank) of \(planned) tensors"))
    }
    if tensor.lossPerByte.isFinite {
      entries.append(("price", "\(scientific(tensor.lossPerByte)) loss saved by the next byte for it"))
    }
    guard !choices.isEmpty else { return listing(entries) }
    var table = Table([("bits", .right), ("loss alone", .right), ("loss change", .right), ("bytes", .right), ("", .left)])
    for choice in choices {
      let bytes = (choice.byteChange < 0 ? "-" : "+") + grouped(choice.byteChange.magnitude)
      table.add([
        String(choice.bits), scientific(choice.loss), String(format: "%+.2e", choice.lossChange), bytes, choice.bits == tensor.bits ? "chosen" : "",
      ])
    }
    return listing(entries) + "\n" + table.text
  }

  var json: JSONText {
    .object([
      ("command", .string("why")), ("name", .string(tensor.name)), ("shape", .array(tensor.shape.map { .integer(UInt64($0)) })),
      ("bits", .integer(UInt64(tensor.bits))), ("reason", .string(tensor.reason)), ("explanation", .string(explanation.text)),
      ("predicted_loss_change", .number(tensor.predictedLossChange)), ("loss_per_byte", .number(tensor.lossPerByte)),
      ("rank", rank.map { .integer(UInt64($0)) } ?? .null), ("planned_tensors", .integer(UInt64(planned))),
      (
        "choices",
        .array(
          choices.map {
            .object([
              ("bits", .integer(UInt64($0.bits))), ("loss", .number($0.loss)), ("loss_change", .number($0.lossChange)),
              ("byte_change", .number(Double($0.byteChange))),
            ])
          })
      ),
    ])
  }
}
