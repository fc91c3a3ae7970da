import CetTensor

/// What is known of a quantized tensor before its codes are: enough for the bytes that it will take.
///
/// Scales and, of affine codes, zero points: one each without an axis; else one per index on the axis; with blocks, the weights of an
/// index in C order of the other axes are cut into blocks, and block j of index i has entry i * blocks + j.
public struct QuantizedForm: Sendable, Equatable {
  /// Of the initializer.
  public let name: String
  public let shape: [Int]
  public let bits: Int
  public let axis: Int?
  /// 0: not blocked.
  public let blockSize: Int
  /// What zero points count in: 1, or 2 for halves.
  public let zeroUnit: Int
  public let coding: Coding

  public init(
    name: String, shape: [Int], bits: Int, axis: Int?, blockSize: Int = 0, zeroUnit: Int = 1, coding: Coding = .affine
  ) throws(CetError) {
    func mismatch(_ text: String) -> CetError { CetError(.shapeMismatch, text).at(.initializer(name)) }
    guard shape.validatedCount != nil, (1...8).contains(bits), blockSize >= 0 else {
      throw mismatch("shape \(shape.shapeText) with \(bits) bits is not possible")
    }
    guard !coding.isTrellis || TrellisCode.widths.contains(bits) && axis != nil else {
      throw mismatch("a trellis has codes of 1 to 6 bits along an axis, got \(bits) bits")
    }
    if let axis, !shape.indices.contains(axis) { throw mismatch("axis \(axis) is outside of \(shape.shapeText)") }
    self.name = name
    self.shape = shape
    self.bits = bits
    self.axis = axis
    // A block that is no shorter than a row is the row.
    self.blockSize = blockSize < RowOrder(shape, axis: axis).columns && axis != nil ? blockSize : 0
    self.zeroUnit = zeroUnit
    self.coding = coding
  }

  /// The form of tensors one after another along their axis, which have everything but its length in common.
  public static func joined(_ forms: [QuantizedForm], name: String) throws(CetError) -> QuantizedForm {
    guard let first = forms.first, let axis = first.axis else { throw CetError(.internal, "nothing to join along an axis") }
    var shape = first.shape
    shape[axis] = forms.reduce(0) { $0 + $1.shape[axis] }
    return try QuantizedForm(
      name: name, shape: shape, bits: first.bits, axis: axis, blockSize: first.blockSize, zeroUnit: first.zeroUnit,
      coding: first.coding)
  }

  /// The zero point of symmetric codes.
  public var middle: Int { 1 << (bits - 1) }

  public var count: Int { shape.elementCount }
  public var order: RowOrder { RowOrder(shape, axis: axis) }

  /// The order of a row's steps through a trellis.
  public var walk: TrellisWalk { axis.map { TrellisWalk(shape, axis: $0, blockSize: blockSize) } ?? .straight }

  /// Scales along one index of the axis.
  public var blocksPerRow: Int { order.blockCount(size: blockSize) }

  public var format: CodeFormat { CodeFormat(bits: bits, coding: coding) }

  public var scaleCount: Int { order.rows * blocksPerRow }
  public var zeroPointCount: Int { coding.hasZeroPoints ? scaleCount : 0 }
}
