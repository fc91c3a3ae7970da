import CetFormats
import CetLayers
import CetQuantize
import CetTensor

/// Quantized models as files (docs/quantized-file.md): what was computed, without the samples that it was computed from.
extension QuantizedModel {
  private static let magic = "CETQUAN1"

  /// The file appears complete or not at all.
  public func saveState(path: String) throws(CetError) {
    let indices = layers.keys.sorted()
    try model.findDigest()
    let header = JSON.object([
      .init("library_version", .string(CompressionPlan.libraryVersion)), .init("model_sha256", .string(model.sha256)),
      .init("plan", plan.json()), .init("biases", .array(indices.map { .integer(layers[$0]?.bias?.count) })),
    ])
    let file = try RecordFile.Writer(path: path, magic: QuantizedModel.magic, header: header)
    for index in indices {
      guard let layer = layers[index] else { continue }
      try file.add(BitPacking.pack(layer.tensor.codes, bits: layer.tensor.bits))
      try file.add(layer.tensor.scales)
      try file.add(layer.tensor.zeroPoints)
      if let bias = layer.bias { try file.add(bias) }
    }
    try file.finish()
  }

  /// The quantized model of a file, which must have been made from `model`. What it writes is not run before: the samples
  /// for that are not in the file.
  public convenience init(statePath path: String, of model: LoadedModel) throws(CetError) {
    guard let file = try RecordFile.Reader.open(path: path, magic: QuantizedModel.magic, what: "quantized file") else {
      throw CetError(.io, "cannot read '\(path)': \(systemErrorText())")
    }
    let digest: String
    do { digest = try file.header.required("model_sha256").string() } catch { throw file.damage(error) }
    try model.findDigest()
    guard digest == model.sha256 else {
      throw CetError(
        .invalidArgument, "the quantized file '\(path)' is of the model with SHA-256 \(digest), this one has \(model.sha256)"
      ).with(.expected, digest).with(.got, model.sha256)
    }
    var layers: [Int: QuantizedLayer] = [:]
    let plan: CompressionPlan
    do throws(CetError) {
      plan = try model.fitted(CompressionPlan(json: file.header.required("plan").value))
      let biases = try file.header.required("biases").array()
      let planned = plan.tensors.indices.filter { plan.tensors[$0].isPlanned }
      guard biases.count == planned.count else {
        throw CetError(.invalidArgument, "\(biases.count) biases go with \(planned.count) quantized tensors")
      }
      for (index, bias) in zip(planned, biases) {
        let count: Int? = bias.value == .null ? nil : try bias.integer(0...Int.max)
        layers[index] = try model.layer(index, plan, biasCount: count, file)
      }
      try file.finish()
    } catch { throw file.damage(error) }
    try self.init(model, plan: plan, layers: layers, biasNames: model.found.layers.map(\.biasName), probe: nil)
  }
}

extension LoadedModel {
  /// Codes, scales and bias of a layer. What form they have follows from the plan.
  fileprivate func layer(
    _ index: Int, _ plan: CompressionPlan, biasCount: Int?, _ file: RecordFile.Reader
  ) throws(CetError) -> QuantizedLayer {
    let (layer, tensor) = (found.layers[index], plan.tensors[index])
    let form = try plan.options.codeRules(trellisCode).form(
      name: layer.name, shape: layer.shape, axis: layer.axis,
      CodeFormat(bits: tensor.bits, coding: Coding(tensor.coding, trellis: trellisCode)))
    let packed = try file.array(UInt8(0), count: BitPacking.packedByteCount(count: form.count, bits: form.bits))
    let codes = [UInt8](unsafeUninitializedCapacity: form.count) { target, count in
      if let base = target.baseAddress {
        packed.withUnsafeBytes { BitPacking.unpack($0, count: form.count, bits: form.bits, into: base) }
      }
      count = form.count
    }
    let scales = try file.array(Float(0), count: form.scaleCount)
    let zeroPoints = try file.array(UInt8(0), count: form.zeroPointCount)
    guard biasCount == nil || biasCount == layer.channels && layer.biasName != nil else {
      throw CetError(.invalidArgument, "initializer '\(layer.name)' has a bias of \(biasCount ?? 0) values")
    }
    let bias = try biasCount.map { count throws(CetError) in try file.array(Float(0), count: count) }
    for value in scales + (bias ?? []) where !value.isFinite {
      throw CetError(.invalidArgument, "initializer '\(layer.name)' has a scale or a bias of \(value)")
    }
    return QuantizedLayer(tensor: try QuantizedTensor(form, codes: codes, scales: scales, zeroPoints: zeroPoints), bias: bias)
  }
}
