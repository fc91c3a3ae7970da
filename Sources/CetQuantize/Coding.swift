/// What the codes of a tensor stand for.
public enum Coding: Sendable, Hashable {
  /// Levels of a grid: value = scale · (code − zero point).
  case affine
  /// Steps through a trellis: value = scale · T[state].
  case trellis(TrellisCode)

  /// The words are the same in C, JSON, Python and on the command line, where their order is this one.
  public enum Kind: String, Sendable, CaseIterable {
    case affine
    case trellis
  }

  public var kind: Kind { isTrellis ? .trellis : .affine }

  public init(_ kind: Kind, trellis: TrellisCode) { self = kind == .trellis ? .trellis(trellis) : .affine }

  public var isTrellis: Bool { self != .affine }
  /// nil for affine codes.
  public var trellis: TrellisCode? { if case .trellis(let code) = self { code } else { nil } }
}

/// How a tensor's weights become codes: how wide these are, and what they stand for.
public struct CodeFormat: Sendable, Hashable {
  public var bits: Int
  public var coding: Coding

  public init(bits: Int, coding: Coding = .affine) {
    self.bits = bits
    self.coding = coding
  }
}

/// Which codings a plan may take. The words are the same in C, JSON, Python and on the command line, where their order is this
/// one.
public enum CodingPolicy: String, Sendable, CaseIterable {
  /// Of each tensor and width the coding of less error, where the encoding can carry both.
  case auto
  case affine
  /// Trellis codes where the encoding can carry them; affine ones elsewhere and above 6 bits.
  case trellis
}
