import Glibc

/// xoshiro256** (Blackman, Vigna 2018) seeded by splitmix64: the same numbers on every machine.
public struct Random: RandomNumberGenerator, Sendable {
  private var state: (UInt64, UInt64, UInt64, UInt64)
  private var spare: Double?

  public init(seed: UInt64) {
    var z = seed
    func next() -> UInt64 {
      z &+= 0x9E37_79B9_7F4A_7C15
      var x = z
      x = (x ^ (x >> 30)) &* 0xBF58_476D_1CE4_E5B9
      x = (x ^ (x >> 27)) &* 0x94D0_49BB_1331_11EB
      return x ^ (x >> 31)
    }
    state = (next(), next(), next(), next())
  }

  /// Where the generator stands, for `init(saved:)`.
  public var saved: [UInt64] {
    [state.0, state.1, state.2, state.3, spare == nil ? 0 : 1, (spare ?? 0).bitPattern]
  }

  /// Goes on from a place that `saved` told; nil for numbers that it cannot have told. From a state of zeros no other follows, so
  /// that `normal` would draw for ever.
  public init?(saved: [UInt64]) {
    guard saved.count == 6, saved.prefix(4).contains(where: { $0 != 0 }) else { return nil }
    let spare = saved[4] == 0 ? nil : Double(bitPattern: saved[5])
    guard spare?.isFinite ?? true else { return nil }
    state = (saved[0], saved[1], saved[2], saved[3])
    self.spare = spare
  }

  public mutating func next() -> UInt64 {
    func rotate(_ x: UInt64, _ k: UInt64) -> UInt64 { (x << k) | (x >> (64 - k)) }
    let result = rotate(state.1 &* 5, 7) &* 9
    let t = state.1 << 17
    state.2 ^= state.0
    state.3 ^= state.1
    state.1 ^= state.2
    state.0 ^= state.3
    state.2 ^= t
    state.3 = rotate(state.3, 45)
    return result
  }

  /// Uniform on [0, 1).
  public mutating func uniform() -> Double { Double(next() >> 11) * 0x1p-53 }

  /// Standard normal (Marsaglia's polar method).
  public mutating func normal() -> Double {
    if let value = spare {
      spare = nil
      return value
    }
    while true {
      let u = 2 * uniform() - 1
      let v = 2 * uniform() - 1
      let s = u * u + v * v
      if s > 0 && s < 1 {
        let factor = (-2 * log(s) / s).squareRoot()
        spare = v * factor
        return u * factor
      }
    }
  }
}
