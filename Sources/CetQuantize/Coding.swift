/// What the codes of a tensor stand for.
public enum Coding: Sendable, Hashable {
  /// Levels of a grid: value = scale · (code − zero point).
  case affine
  /// Steps through a trellis: value = scale · T[state].
  case trellis(TrellisCode)
}
