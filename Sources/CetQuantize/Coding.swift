/// What the codes of a tensor stand for.
public enum Coding: Sendable, Hashable {
  /// Levels of a grid: value = scale · (code − zero point).
  case affine
  /// Steps through a trellis: value = scale · T[state].
  case trellis(TrellisCode)
  /// Levels of a grid whose zero point is its middle: value = scale · (code − 2^(bits − 1)), the signed integers of so many bits.
  case symmetric

  /// The words are the same in C, JSON, Python and on the command line, where their order is this one.
  public enum Kind: String, Sendable, CaseIterable {
    case affine
    case trellis
    case symmetric
  }

  public var kind: Kind {
    switch self {
    case .affine: .affine
    case .trellis: .trellis
    case .symmetric: .symmetric
    }
  }

  public init(_ kind: Kind, trellis: TrellisCode) {
    switch kind {
    case .affine: self = .affine
    case .trellis: self = .trellis(trellis)
    case .symmetric: self = .symmetric
    }
  }

  public var isTrellis: Bool { trellis != nil }
  /// Whether each scale has a zero point of its own.
  public var hasZeroPoints: Bool { self == .affine }
  /// nil for levels of a grid.
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
  /// Grids whose zero points are their middle, which nobody stores: what hardware for signed integers takes.
  case symmetric
}
