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
    let entries = indices.compactMap { index in layers[index].map { QuantizedModel.entry(index, $0) } }
    let header = JSON.object([
      .init("library_version", .string(CompressionPlan.libraryVersion)), .init("model_sha256", .string(model.sha256)),
      .init("plan", plan.json()), .init("layers", .array(entries)),
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

  private static func entry(_ index: Int, _ layer: QuantizedLayer) -> JSON {
    let form = layer.tensor.form
    return .object([
      .init("index", .integer(index)), .init("bits", .integer(form.bits)), .init("axis", .integer(form.axis)),
      .init("block_size", .integer(form.blockSize)), .init("zero_point_unit", .integer(form.zeroUnit)),
      .init("trellis_state_bits", .integer(form.coding.trellis?.stateBits)), .init("bias", .integer(layer.bias?.count)),
    ])
  }

  /// The quantized model of a file, which must have been made from `model`. What it writes is not run before: the samples
  /// for that are not in the file.
  public convenience init(statePath path: String, of model: LoadedModel) throws(CetError) {
    guard let file = try RecordFile.Reader.open(path: path, magic: QuantizedModel.magic, what: "quantized file") else {
      throw CetError(.io, "cannot read '\(path)': \(systemErrorText())")
    }
    let digest: String
    do { digest = try file.header.required("model_sha256").string() } catch { throw QuantizedModel.damaged(path, error) }
    guard digest == model.sha256 else {
      throw CetError(.invalidArgument, "the quantized file '\(path)' is of the model with SHA-256 \(digest), this one has \(model.sha256)")
        .with(.expected, digest).with(.got, model.sha256)
    }
    var layers: [Int: QuantizedLayer] = [:]
    let plan: CompressionPlan
    do throws(CetError) {
      plan = try model.fitted(CompressionPlan(json: file.header.required("plan").value))
      for entry in try file.header.required("layers").array() {
        let index = try entry.required("index").integer(0...max(0, plan.tensors.count - 1))
        layers[index] = try QuantizedModel.layer(entry, model.found.layers[index], file)
      }
      for (index, tensor) in plan.tensors.enumerated() where (tensor.isPlanned ? tensor.bits : nil) != layers[index]?.tensor.bits {
        throw CetError(.io, "plan and codes of initializer '\(tensor.name)' do not agree")
      }
      try file.finish()
    } catch { throw QuantizedModel.damaged(path, error) }
    try self.init(model, plan: plan, layers: layers, biasNames: model.found.layers.map(\.biasName), probe: nil)
  }

  private static func layer(
    _ entry: JSONFields, _ layer: LinearLayer, _ file: RecordFile.Reader
  ) throws(CetError) -> QuantizedLayer {
    let stateBits = try entry.optional("trellis_state_bits").map { field throws(CetError) in try field.integer(1...16) }
    let form = try QuantizedForm(
      name: layer.name, shape: layer.shape, bits: try entry.required("bits").integer(PlanOptions.allowedBits),
      axis: try entry.optional("axis").map { field throws(CetError) in try field.integer(0...64) },
      blockSize: try entry.required("block_size").integer(0...(1 << 31)),
      zeroUnit: try entry.required("zero_point_unit").integer(1...2),
      coding: try stateBits.map { bits throws(CetError) in .trellis(try TrellisCode(stateBits: bits)) } ?? .affine)
    let packed = try file.array(UInt8(0), count: BitPacking.packedByteCount(count: form.count, bits: form.bits))
    let codes = [UInt8](unsafeUninitializedCapacity: form.count) { target, count in
      if let base = target.baseAddress {
        packed.withUnsafeBytes { BitPacking.unpack($0, count: form.count, bits: form.bits, into: base) }
      }
      count = form.count
    }
    let scales = try file.array(Float(0), count: form.scaleCount)
    let zeroPoints = try file.array(UInt8(0), count: form.zeroPointCount)
    let biasCount = try entry.optional("bias").map { field throws(CetError) in try field.integer(0...Int.max) }
    guard biasCount == nil || biasCount == layer.channels && layer.biasName != nil else {
      throw CetError(.io, "initializer '\(layer.name)' has a bias of \(biasCount ?? 0) values")
    }
    let bias = try biasCount.map { count throws(CetError) in try file.array(Float(0), count: count) }
    for value in scales + (bias ?? []) where !value.isFinite {
      throw CetError(.io, "initializer '\(layer.name)' has a scale or a bias of \(value)")
    }
    return QuantizedLayer(tensor: try QuantizedTensor(form, codes: codes, scales: scales, zeroPoints: zeroPoints), bias: bias)
  }

  private static func damaged(_ path: String, _ error: CetError) -> CetError {
    CetError(.io, "quantized file '\(path)' is damaged: \(error.message)")
  }
}
