import CetFormats
import CetGraph
import CetLayers
import CetONNX
import CetQuantize
import CetTensor

/// Sizes of written files and tensors before any code is computed: they depend on shapes and bits alone.
struct FileSizes {
  private let model: LoadedModel
  private let encoding: Encoding

  init(_ model: LoadedModel, encoding: Encoding) throws {
    self.model = model
    self.encoding = encoding
  }

  /// Codes, scales and zero points of a layer in the file.
  func storedBytes(_ layer: LinearLayer, bits: Int, granularity: Granularity) -> (codes: Int, stored: Int) {
    FileSizes.storedBytes(layer.shape, axis: layer.axis, bits: bits, granularity: granularity, encoding: encoding)
  }

  /// The same of a tensor with this quantization axis (nil: one scale); `PlannedTensor.keptBits` stands for float32.
  static func storedBytes(
    _ shape: [Int], axis: Int?, bits: Int, granularity: Granularity, encoding: Encoding
  ) -> (codes: Int, stored: Int) {
    let count = shape.elementCount
    guard bits != PlannedTensor.keptBits else { return (0, count * 4) }
    let grids = gridCount(shape, axis: axis, granularity)
    if encoding == .qdq {
      let unit = GridForm(granularity: granularity, encoding: encoding).zeroUnit(bits: bits)
      let bytes = DequantizeEncoding.storedBytes(count: count, gridCount: grids, bits: bits, zeroUnit: unit)
      return (bytes.codes, bytes.codes + bytes.grids)
    }
    let codes = BitPacking.packedByteCount(count: count, bits: bits)
    return (codes, codes + 5 * grids)
  }

  private static func gridCount(_ shape: [Int], axis: Int?, _ granularity: Granularity) -> Int {
    guard let axis, granularity != .perTensor else { return 1 }
    let channels = shape[axis]
    guard case .block(let size) = granularity else { return channels }
    let columns = shape.elementCount / max(channels, 1)
    return channels * max(1, (columns + size - 1) / size)
  }

  /// The whole file when layer i has `bits[i]` bits (nil: unchanged), exactly.
  func bytes(bits: [Int?], granularity: Granularity, addsBiases: Bool) throws -> Int {
    var quantized: [Int: QuantizedLayer] = [:]
    let form = GridForm(granularity: granularity, encoding: encoding)
    for (index, layer) in model.found.layers.enumerated() {
      guard let width = bits[index] else { continue }
      let written = try QuantizedForm(
        name: layer.name, shape: layer.shape, bits: width, axis: granularity == .perTensor ? nil : layer.axis,
        blockSize: granularity.blockSize, zeroUnit: form.zeroUnit(bits: width))
      let tensor = try QuantizedTensor(
        written, codes: [UInt8](repeating: 0, count: written.count), scales: [Float](repeating: 1, count: written.gridCount),
        zeroPoints: [UInt8](repeating: 0, count: written.gridCount))
      let takesBias = addsBiases && layer.usesStatistics
      quantized[index] = QuantizedLayer(tensor: tensor, bias: takesBias ? [Float](repeating: 0, count: layer.channels) : nil)
    }
    let rewriting = Rewriting(found: model.found, original: model.file.model, biasNames: model.found.layers.map(\.biasName))
    let metadata = FileMetadata.ofUnknownLosses(model, bits: bits)
    return try ModelWriter.size(edit: rewriting.edit(quantized, encoding: encoding, metadata: metadata), of: model.file)
  }
}

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
