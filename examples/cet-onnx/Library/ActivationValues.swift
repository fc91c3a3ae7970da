import CCet

/// One activation of a plan, copied out of the library.
struct ActivationLine {
  var name: String
  /// 32: it stays float32.
  var bits: Int
  /// Of a sample, mean.
  var elements: UInt64
  /// NaN where it stays float32.
  var scale: Float
  var zeroPoint: Int
  var range: Int32
  var reason: String
  /// With this activation rounded alone: what the choice rests on, at temperature 1, and what curvature says of the latter.
  var predictedLossChange: Double
  var measuredLoss: Double
  var curvatureLoss: Double
  /// The first of them by bits 0 to 16; NaN where there is no value.
  var sensitivity: [Double]

  var isRounded: Bool { bits < 32 }
  var bitsText: String { isRounded ? String(bits) : "float" }

  /// From the least value to the greatest, and how that was found.
  var rangeText: String {
    guard isRounded else { return "-" }
    let low = Double(-zeroPoint) * Double(scale)
    return String(format: "%.3g to %.3g, ", low, low + Double(1 << bits - 1) * Double(scale)) + rangeWord
  }

  private var rangeWord: String { range == CET_ACTIVATION_RANGE_LEAST_SQUARES ? "least-squares" : ActivationRange.word(range) }
}

extension ActivationLine {
  /// In JSON.
  var members: [(String, JSONText)] {
    [
      ("name", .string(name)), ("bits", .integer(UInt64(bits))), ("scale", .number(Double(scale))),
      ("zero_point", isRounded ? .integer(UInt64(clamping: zeroPoint)) : .null),
      ("range", isRounded ? .string(rangeWord) : .null), ("predicted_loss_change", .number(predictedLossChange)),
    ]
  }
}

extension Plan {
  func activations() throws -> [ActivationLine] {
    try (0..<cet_plan_activation_count(handle)).map { index in
      var info: cet_plan_activation = try initialized(cet_plan_activation_init)
      try check(cet_plan_get_activation(handle, index, &info))
      return ActivationLine(
        name: String(cString: info.name), bits: Int(info.bits), elements: info.elements, scale: info.scale,
        zeroPoint: Int(info.zero_point), range: info.range, reason: info.reason.map { String(cString: $0) } ?? "",
        predictedLossChange: info.predicted_loss_change, measuredLoss: info.measured_loss, curvatureLoss: info.curvature_loss,
        sensitivity: elements(of: info.sensitivity))
    }
  }
}

extension [ActivationLine] {
  /// As the table of tensors.
  var table: String {
    var table = Table([("activation", .left), ("bits", .right), ("elements", .right), ("range", .left), ("loss change", .right)])
    for line in self {
      table.add([
        line.name, line.bitsText, grouped(line.elements), line.rangeText,
        scientific(line.predictedLossChange),
      ])
    }
    return table.text
  }

  /// How many have which bits.
  var summary: String {
    let counts = Dictionary(grouping: self, by: \.bits).sorted { $0.key < $1.key }.map { bits, lines in
      "\(lines.count) \(bits < 32 ? "at \(bits) bits" : "float")"
    }
    let elements = reduce(0.0) { $0 + Double($1.elements) }
    let mean = reduce(0.0) { $0 + Double($1.elements) * Double($1.bits) } / Swift.max(1, elements)
    return counts.joined(separator: ", ") + "; \(fixed(mean)) bits an element on average"
  }
}
