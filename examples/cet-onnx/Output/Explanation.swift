/// Why a tensor has its bits: what one step less or more would do to the plan's predicted loss and to the file.
struct Explanation {
  struct Step {
    var bits: Int
    /// Change of the plan's predicted loss; of the table's sum where the plan has no prediction.
    var loss: Double
    /// The same as a share of the plan's loss.
    var share: Double
    var bytes: Int64
  }

  let tensor: TensorLine
  private(set) var fewer: Step?
  private(set) var more: Step?

  /// - Parameters:
  ///   - tableSum: of all tensors at the plan's bits.
  ///   - totals: of the plan; its prediction scales the table, whose losses are of tensors quantized alone.
  init(_ tensor: TensorLine, tableSum: Double, totals: PlanTotals) {
    self.tensor = tensor
    guard tensor.isPlanned, tensor.sensitivity.indices.contains(tensor.bits) else { return }
    let widths = (1...8).filter { tensor.sensitivity[$0].isFinite }
    func step(_ bits: Int?) -> Step? {
      guard let bits, tensor.sensitivity[tensor.bits].isFinite, tableSum > 0 else { return nil }
      let change = tensor.sensitivity[bits] - tensor.sensitivity[tensor.bits]
      let scale = totals.predictedLossChange > 0 ? totals.predictedLossChange / tableSum : 1
      func stored(_ bits: Int) -> Double { Double(Explanation.storedBits(bits, totals.encoding)) }
      let bytes = Double(tensor.codeBytes) * (stored(bits) / stored(tensor.bits) - 1)
      return Step(bits: bits, loss: change * scale, share: change / tableSum, bytes: Int64(bytes.rounded()))
    }
    fewer = step(widths.last { $0 < tensor.bits })
    more = step(widths.first { $0 > tensor.bits })
  }

  /// Bits that a code takes in the file.
  static func storedBits(_ bits: Int, _ encoding: String) -> Int {
    guard encoding == Encoding.qdq.rawValue else { return bits }
    return bits <= 2 ? 2 : bits <= 4 ? 4 : 8
  }

  /// For all tensors of a plan.
  static func all(_ tensors: [TensorLine], _ totals: PlanTotals) -> [Explanation] {
    let sum = tensors.reduce(0.0) { sum, tensor in
      tensor.isPlanned && tensor.sensitivity.indices.contains(tensor.bits) ? sum + tensor.sensitivity[tensor.bits] : sum
    }
    return tensors.map { Explanation($0, tableSum: sum, totals: totals) }
  }

  var text: String {
    var sentences: [String]
    switch tensor.decision {
    case .kept: return "Stays float32: \(tensor.reason)."
    case .fixed: sentences = ["Fixed at \(Explanation.words(tensor.bits)): \(tensor.reason)."]
    case .chosen: sentences = ["\(Explanation.words(tensor.bits)): \(tensor.reason)."]
    }
    if let fewer { sentences.append("\(Explanation.words(fewer.bits)) would \(effect(fewer)).") }
    if let more { sentences.append("\(Explanation.words(more.bits)) would \(effect(more)).") }
    return sentences.joined(separator: " ")
  }

  private static func words(_ bits: Int) -> String { bits == 1 ? "1 bit" : "\(bits) bits" }

  private func effect(_ step: Step) -> String {
    let size =
      step.bytes == 0
      ? "take as many bytes"
      : step.bytes < 0 ? "save \(grouped(UInt64(-step.bytes))) bytes" : "cost \(grouped(UInt64(step.bytes))) bytes"
    let change = abs(step.share)
    // More than its double is a factor of the loss, for a reader.
    let share =
      change >= 10 ? String(format: "%.0f times", change) : String(format: change < 0.001 ? "%.2g %%" : "%.1f %%", 100 * change)
    guard change > 0 else { return "\(size) and change no loss" }
    return step.loss > 0 ? "\(size) and add \(share) of the plan's loss" : "\(size) and take \(share) off\(fewer == nil ? " the plan's loss" : "")"
  }
}
