/// Where the levels of a tensor may lie, whatever its bits turn out to be.
public struct GridForm: Sendable {
  public let granularity: Granularity
  private let unit: @Sendable (_ bits: Int) -> Int

  /// - Parameter zeroUnit: what zero points count in, by bits: 1, or 2 for halves.
  public init(granularity: Granularity, zeroUnit: @escaping @Sendable (_ bits: Int) -> Int) {
    self.granularity = granularity
    unit = zeroUnit
  }

  public func zeroUnit(bits: Int) -> Int { unit(bits) }

  /// The form of a tensor at a width.
  public func form(name: String, shape: [Int], axis: Int, bits: Int) throws -> QuantizedForm {
    try QuantizedForm(
      name: name, shape: shape, bits: bits, axis: granularity == .perTensor ? nil : axis,
      blockSize: granularity.blockSize, zeroUnit: zeroUnit(bits: bits))
  }
}
