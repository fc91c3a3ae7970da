import CetTensor

/// What codes a tensor may have, whatever its bits turn out to be.
public struct CodeRules: Sendable {
  public let granularity: Granularity
  private let unit: @Sendable (_ bits: Int) -> Int
  private let policy: CodingPolicy
  /// nil: no trellis codes.
  private let trellis: TrellisCode?
  /// Widths at which the scales of tensors, by name, are float16 in the file.
  private let narrowScales: [String: Set<Int>]

  /// Rows of more weights have affine codes: a row is searched through as a whole.
  private static let mostTrellisColumns = 1 << 16

  /// - Parameters:
  ///   - trellis: the code that trellis tensors have; nil where the encoding cannot carry one.
  ///   - narrowScales: widths at which the scales of tensors, by name, are float16 in the file; float32 else.
  ///   - zeroUnit: what zero points count in, by bits: 1, or 2 for halves.
  public init(
    granularity: Granularity, coding: CodingPolicy = .affine, trellis: TrellisCode? = nil, narrowScales: [String: Set<Int>] = [:],
    zeroUnit: @escaping @Sendable (_ bits: Int) -> Int
  ) {
    self.granularity = granularity
    policy = coding
    // One scale for a whole tensor leaves a trellis no row to be fitted to.
    self.trellis = [.affine, .symmetric].contains(coding) || granularity == .perTensor ? nil : trellis
    self.narrowScales = narrowScales
    unit = zeroUnit
  }

  /// Whether the scales of a tensor are numbers of float16.
  public func hasNarrowScales(_ name: String, bits: Int) -> Bool { narrowScales[name]?.contains(bits) ?? false }

  public func zeroUnit(bits: Int) -> Int { unit(bits) }

  /// Of a matrix with rows of so many columns: a block that is no shorter than a row is the row.
  public func granularity(columns: Int) -> Granularity {
    if case .block(let size) = granularity, size >= columns { .perAxis } else { granularity }
  }

  /// Whether any tensor may have trellis codes.
  public var hasTrellis: Bool { trellis != nil }

  /// The codings to choose among for a tensor with rows of so many columns; the first is what may be expected. There is none at
  /// 1 bit without a trellis: a grid of two levels is no match for any.
  public func codings(bits: Int, columns: Int) -> [Coding] {
    let grid: [Coding] = bits > 1 ? [policy == .symmetric ? .symmetric : .affine] : []
    guard let trellis, TrellisCode.widths.contains(bits), (1...CodeRules.mostTrellisColumns).contains(columns) else { return grid }
    return [.trellis(trellis)] + (policy == .trellis ? [] : grid)
  }

  /// What a tensor has at a width before its rounding says otherwise; nil: it cannot have that width.
  public func expected(bits: Int, columns: Int) -> CodeFormat? {
    codings(bits: bits, columns: columns).first.map { CodeFormat(bits: bits, coding: $0) }
  }

  /// The form of a tensor in a format.
  public func form(name: String, shape: [Int], axis: Int, _ format: CodeFormat) throws(CetError) -> QuantizedForm {
    try QuantizedForm(
      name: name, shape: shape, bits: format.bits, axis: granularity == .perTensor ? nil : axis,
      blockSize: granularity.blockSize, zeroUnit: format.coding.hasZeroPoints ? zeroUnit(bits: format.bits) : 1, coding: format.coding)
  }
}
