import CetTensor

/// What is known of a quantized tensor before its codes are: enough for the bytes that it will take.
///
/// Scales and zero points: one each without an axis; else one per index on the axis; with blocks, the weights of an
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

  public init(name: String, shape: [Int], bits: Int, axis: Int?, blockSize: Int = 0, zeroUnit: Int = 1) throws {
    func mismatch(_ text: String) -> CetError { CetError(.shapeMismatch, "initializer '\(name)': \(text)") }
    guard shape.validatedCount != nil, (1...8).contains(bits), blockSize >= 0 else {
      throw mismatch("shape \(shape.shapeText) with \(bits) bits is not possible")
    }
    if let axis, !shape.indices.contains(axis) { throw mismatch("axis \(axis) is outside of \(shape.shapeText)") }
    self.name = name
    self.shape = shape
    self.bits = bits
    self.axis = axis
    self.blockSize = axis == nil ? 0 : blockSize
    self.zeroUnit = zeroUnit
  }

  public var count: Int { shape.elementCount }
  public var order: RowOrder { RowOrder(shape, axis: axis) }

  /// Scales along one index of the axis.
  public var blocksPerRow: Int { order.blockCount(size: blockSize) }

  /// Scales, and zero points.
  public var gridCount: Int { order.rows * blocksPerRow }
}
