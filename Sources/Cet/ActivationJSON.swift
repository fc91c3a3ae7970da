import CetFormats
import CetQuantize
import CetTensor

extension ActivationOptions {
  func json() -> JSON {
    .object([
      .init("bits", .array(bits.map { .integer($0) })),
      .init("range", .string(range.rawValue)),
      .init("max_loss", .double(maximumLoss)),
      .init("mean_bits", .double(meanBits)),
    ])
  }

  init(fields: JSONFields) throws(CetError) {
    self.init(bits: try fields.required("bits").array().map { field throws(CetError) in try field.integer(1...PlannedTensor.keptBits) })
    range = try fields.required("range").choice()
    maximumLoss = try fields.optional("max_loss")?.double()
    meanBits = try fields.optional("mean_bits")?.double()
    do { try validate() } catch { throw fields.error(error.message) }
  }
}

extension PlannedActivation {
  func json() -> JSON {
    .object([
      .init("name", .string(name)),
      .init("copies", .array(copies.map { .string($0) })),
      .init("elements", .integer(elements)),
      .init("bits", .integer(bits)),
      .init("decided_bits", .integer(bits)),
      .init("scale", .double(choice.map { Double($0.grid.scale) })),
      .init("zero_point", .integer(choice?.grid.zeroPoint)),
      .init("range", .text(choice?.range.rawValue)),
      .init("predicted_loss_change", .double(predictedLossChange)),
      .init("reason", .string(reason)),
      .init(
        "choices", .object(choices.sorted { $0.key < $1.key }.map { bits, choice in .init(String(bits), choice.json()) })),
    ])
  }

  /// Bits may be changed to those of another choice, or to those of float32; the rest follows.
  init(fields: JSONFields) throws(CetError) {
    var choices: [Int: Choice] = [:]
    for (name, field) in try fields.required("choices").members() {
      guard let bits = Int(name) else { throw field.error("expected bits as the member's name") }
      choices[bits] = try Choice(fields: field, bits: bits)
    }
    let bitsField = try fields.required("bits")
    let bits = try bitsField.integer(1...PlannedTensor.keptBits)
    guard bits == PlannedTensor.keptBits || choices[bits] != nil else {
      let known = (choices.keys.sorted() + [PlannedTensor.keptBits]).map(String.init).joined(separator: ", ")
      throw bitsField.error("the plan has no range for \(bits) bits, it has \(known)")
    }
    self.init(
      name: try fields.required("name").string(),
      copies: try fields.optional("copies")?.array().map { field throws(CetError) in try field.string() } ?? [],
      elements: try fields.required("elements").integer(1...(1 << 46)), bits: bits, choices: choices,
      reason: try fields.optional("reason")?.string() ?? "")
  }
}

extension PlannedActivation.Choice {
  fileprivate func json() -> JSON {
    .object([
      .init("scale", .double(Double(grid.scale))),
      .init("zero_point", .integer(grid.zeroPoint)),
      .init("range", .string(range.rawValue)),
      .init("sensitivity", .double(sensitivity)),
      .init("measured_loss", .double(measuredLoss)),
      .init("curvature_loss", .double(curvatureLoss)),
    ])
  }

  fileprivate init(fields: JSONFields, bits: Int) throws(CetError) {
    let scale = Float(try fields.required("scale").double())
    let zero = try fields.required("zero_point").integer(0...65535)
    do { grid = try ActivationGrid(bits: bits, scale: scale, zeroPoint: zero) } catch { throw fields.error(error.message) }
    range = try fields.required("range").choice()
    sensitivity = try fields.required("sensitivity").double()
    measuredLoss = try fields.required("measured_loss").double()
    curvatureLoss = try fields.optional("curvature_loss")?.double()
  }
}
