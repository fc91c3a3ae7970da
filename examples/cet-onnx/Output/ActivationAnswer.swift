/// What a plan knows about one activation's bits.
struct ActivationAnswer {
  private let activation: ActivationLine
  /// Among the rounded activations by the loss at their bits, from 1; nil: it stays float, or no loss is known.
  private let rank: Int?
  private let rounded: Int

  init(_ activations: [ActivationLine], _ index: Int) {
    let (activation, known) = (activations[index], activations.filter { $0.isRounded && $0.predictedLossChange.isFinite })
    self.activation = activation
    rounded = known.count
    rank =
      activation.isRounded && activation.predictedLossChange.isFinite
      ? 1 + known.filter { $0.predictedLossChange > activation.predictedLossChange }.count : nil
  }

  private var widths: [Int] { activation.sensitivity.indices.filter { activation.sensitivity[$0].isFinite } }

  var text: String {
    var entries = [("activation", activation.name), ("elements", "\(grouped(activation.elements)) of a sample, on average")]
    entries.append(("why", "\(activation.isRounded ? "\(activation.bits) bits" : "float"): \(activation.reason)"))
    if activation.isRounded {
      entries.append(("range", activation.rangeText))
      entries.append(("code", "round(value / \(activation.scale)) + \(activation.zeroPoint)"))
    }
    if let rank {
      entries.append(("loss", "\(scientific(activation.predictedLossChange)) when rounded alone, rank \(rank) of \(rounded) activations"))
      entries.append(("curvature", "foretells \(scientific(activation.curvatureLoss)) of the measured \(scientific(activation.measuredLoss))"))
    }
    guard !widths.isEmpty else { return listing(entries) }
    var table = Table([("bits", .right), ("loss alone", .right), ("loss change", .right), ("", .left)])
    for bits in widths {
      let loss = activation.sensitivity[bits]
      let change = loss - (activation.isRounded ? activation.predictedLossChange : 0)
      table.add([String(bits), scientific(loss), String(format: "%+.2e", change), bits == activation.bits ? "chosen" : ""])
    }
    return listing(entries) + "\n" + table.text
  }

  var json: JSONText {
    .object(
      [("command", .string("why"))] + activation.members + [
        ("reason", .string(activation.reason)), ("elements", .integer(activation.elements)),
        ("measured_loss", .number(activation.measuredLoss)), ("curvature_loss", .number(activation.curvatureLoss)),
        ("rank", rank.map { .integer(UInt64($0)) } ?? .null), ("rounded_activations", .integer(UInt64(rounded))),
        (
          "choices",
          .array(widths.map { .object([("bits", .integer(UInt64($0))), ("loss", .number(activation.sensitivity[$0]))]) })
        ),
      ])
  }
}
