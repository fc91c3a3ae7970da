import CetTensor

/// Codes, scales and zero points of one initializer: w = scale * (code - zero point / zeroUnit), of symmetric codes
/// w = scale * (code - 2^(bits - 1)), and with a trellis w = scale * T[state], states along each index of the axis in the order of
/// `TrellisWalk`.
@dynamicMemberLookup
public struct QuantizedTensor: Sendable, Equatable {
  public let form: QuantizedForm
  /// One a byte, in C order of the shape: as they are dequantized for every run, and as most encodings store them.
  public let codes: [UInt8]
  public let scales: [Float]
  /// Empty where codes have none of their own.
  public let zeroPoints: [UInt8]

  /// One zero point a scale, whether they are stored or not; empty with a trellis.
  public var ownOrSharedZeroPoints: [UInt8] {
    form.coding == .symmetric ? [UInt8](repeating: UInt8(form.middle), count: scales.count) : zeroPoints
  }

  public subscript<Value>(dynamicMember member: KeyPath<QuantizedForm, Value>) -> Value { form[keyPath: member] }

  public init(_ form: QuantizedForm, codes: [UInt8], scales: [Float], zeroPoints: [UInt8]) throws(CetError) {
    func mismatch(_ text: String) -> CetError { CetError(.shapeMismatch, text).at(.initializer(form.name)) }
    guard codes.count == form.count else {
      throw mismatch("\(codes.count) codes do not fill shape \(form.shape.shapeText)")
    }
    guard scales.count == form.scaleCount, zeroPoints.count == form.zeroPointCount else {
      throw mismatch(
        "\(scales.count) scales and \(zeroPoints.count) zero points, expected \(form.scaleCount) and \(form.zeroPointCount)")
    }
    self.form = form
    self.codes = codes
    self.scales = scales
    self.zeroPoints = zeroPoints
  }

  /// Tensors one after another along their axis: see `QuantizedForm.joined`.
  public static func joined(_ tensors: [QuantizedTensor], name: String) throws(CetError) -> QuantizedTensor {
    let form = try QuantizedForm.joined(tensors.map(\.form), name: name)
    return try QuantizedTensor(
      form, codes: form.order.tensorOrder(tensors.flatMap { $0.form.order.rowsFirst($0.codes) }),
      scales: tensors.flatMap(\.scales), zeroPoints: tensors.flatMap(\.zeroPoints))
  }

  /// The weights, C order.
  public func dequantized() -> [Float] { form.coding.trellis.map(values) ?? gridValues() }

  private func values(of code: TrellisCode) -> [Float] {
    let order = form.order
    var values = code.levels(order.rowsFirst(codes), rows: order.rows, columns: order.columns, bits: form.bits, form.walk)
    let blocks = form.blocksPerRow
    let size = form.blockSize > 0 ? form.blockSize : max(1, order.columns)
    for row in 0..<(values.isEmpty ? 0 : order.rows) {
      for block in 0..<blocks {
        let scale = scales[row * blocks + block]
        for i in (row * order.columns + block * size)..<(row * order.columns + min((block + 1) * size, order.columns)) {
          values[i] *= scale
        }
      }
    }
    return order.tensorOrder(values)
  }

  private func gridValues() -> [Float] {
    let order = form.order
    let (rows, inner, blocks) = (order.rows, order.inner, form.blocksPerRow)
    let zeros = ownOrSharedZeroPoints.map { Float($0) / Float(form.zeroUnit) }
    return [Float](unsafeUninitializedCapacity: codes.count) { out, filledCount in
      codes.withUnsafeBufferPointer { codes in
        scales.withUnsafeBufferPointer { scales in
          zeros.withUnsafeBufferPointer { zeros in
            for o in 0..<(codes.isEmpty ? 0 : order.outer) {
              for r in 0..<rows {
                let start = (o * rows + r) * inner
                if blocks == 1 {
                  let (scale, zero) = (scales[r], zeros[r])
                  for i in start..<(start + inner) { out.initializeElement(at: i, to: scale * (Float(codes[i]) - zero)) }
                } else {
                  for i in 0..<inner {
                    let entry = r * blocks + (o * inner + i) / form.blockSize
                    out.initializeElement(at: start + i, to: scales[entry] * (Float(codes[start + i]) - zeros[entry]))
                  }
                }
              }
            }
          }
        }
      }
      filledCount = codes.count
    }
  }
}

/// A layer's weights and bias after quantization.
public struct QuantizedLayer: Sendable {
  public let tensor: QuantizedTensor
  /// Corrected for the mean of the output error; nil when the layer has no place for it.
  public let bias: [Float]?

  public init(tensor: QuantizedTensor, bias: [Float]?) {
    self.tensor = tensor
    self.bias = bias
  }
}
