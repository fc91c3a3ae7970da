import CetFormats
import CetTensor

/// The metadata_props of a written file. Numbers have a fixed width, so that the size of a file is known before
/// its losses are.
enum FileMetadata {
  static func entries(
    _ model: LoadedModel, plan: CompressionPlan
  ) -> [(key: String, value: String)] {
    let bits = Dictionary(plan.tensors.map { ($0.name, $0.isPlanned ? $0.bits : nil) }, uniquingKeysWith: { first, _ in first })
    return entries(
      model, bits: model.found.layers.map { bits[$0.name] ?? nil }, method: plan.options.method, seed: plan.options.seed,
      predicted: plan.prediction?.loss, measured: plan.measuredLossChange)
  }

  static func ofUnknownLosses(_ model: LoadedModel, bits: [Int?]) -> [(key: String, value: String)] {
    entries(model, bits: bits, method: .cet, seed: 0, predicted: nil, measured: nil)
  }

  private static func entries(
    _ model: LoadedModel, bits: [Int?], method: Method, seed: UInt64, predicted: Double?, measured: Double?
  ) -> [(key: String, value: String)] {
    var plan: [JSON.Member] = []
    // What stays as this library wrote it before keeps its entry.
    let recorded = model.found.record?.bits ?? [:]
    for (layer, width) in zip(model.found.layers, bits) {
      if let width = width ?? recorded[layer.name] { plan.append(.init(layer.name, .integer(width))) }
    }
    func padded(_ text: String, _ width: Int) -> String {
      text + String(repeating: " ", count: max(0, width - text.utf8.count))
    }
    return [
      ("ai.libcet.version", CompressionPlan.libraryVersion),
      ("ai.libcet.method", padded(method.rawValue, 8)),
      ("ai.libcet.seed", padded(String(seed), 20)),
      ("ai.libcet.source_sha256", model.sha256),
      ("ai.libcet.predicted_loss_change", padded(predicted.map { "\($0)" } ?? "", 24)),
      ("ai.libcet.measured_loss_change", padded(measured.map { "\($0)" } ?? "", 24)),
      ("ai.libcet.plan", JSON.object(plan).serialized(indented: false)),
    ]
  }
}
