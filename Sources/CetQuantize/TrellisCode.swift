import CKernels
import CetTensor
import Glibc

/// The values of a trellis code, for every width at once (Marcellin, Fischer 1990; for network weights arXiv 2406.11235).
///
/// A row of weights is one sequence of codes c_0, c_1, … of k bits. State s_j = ((s_{j−1} << k) | c_j) mod 2^L, 0 before the
/// first weight; value = scale · T[s_j]. T holds the quantiles of a normal distribution in an order such that the 2^k
/// successors of a state lie in different 2^k-quantiles of it, for every k: each weight has a choice among values all over
/// the distribution, and the choice depends on the weights before it.
public struct TrellisCode: Sendable, Hashable, CustomStringConvertible {
  /// L: 4 … 12.
  public let stateBits: Int
  /// 2^L values, each a float16 number: so a file can hold them.
  public let table: [Float]

  public static let widths = 1...6

  public init(stateBits: Int) throws(CetError) {
    guard (TrellisCode.fewestStateBits...Int(CK_TRELLIS_STATE_BITS)).contains(stateBits) else {
      throw CetError(
        .invalidArgument,
        "a trellis has \(TrellisCode.fewestStateBits) to \(Int(CK_TRELLIS_STATE_BITS)) state bits, got \(stateBits)")
    }
    self.init(checked: stateBits)
  }

  /// A state holds at least one code of every width.
  private static let fewestStateBits = 6

  private init(checked stateBits: Int) {
    self.stateBits = stateBits
    let count = 1 << stateBits
    var quantiles = [Float](repeating: 0, count: count)
    for i in 0..<count { quantiles[i] = TrellisCode.float16(TrellisCode.quantile((Double(i) + 0.5) / Double(count))) }
    table = (0..<count).map { quantiles[TrellisCode.rank(of: $0, stateBits)] }
  }

  /// Large files: the table is little of them.
  public static let large = TrellisCode(checked: 12)
  /// Small files: 2 kB. On a normal source its error is 1, 1, 2, 8, 11 and 18 % above the large one's at 1 to 6 bits.
  public static let small = TrellisCode(checked: 10)

  /// The table follows from the number of state bits.
  public static func == (a: TrellisCode, b: TrellisCode) -> Bool { a.stateBits == b.stateBits }
  public func hash(into hasher: inout Hasher) { hasher.combine(stateBits) }

  /// The one for a model of so many weights: its table should be next to nothing beside the codes.
  public static func suited(weights: Int) -> TrellisCode { weights >= 2_000_000 ? .large : .small }

  public var description: String { "trellis of \(stateBits) state bits" }

  /// The greatest |T|.
  public var largest: Float { table.reduce(0) { max($0, abs($1)) } }

  /// Which quantile a state has: bit i of the state, 0 being the newest, gives the binary digit 2^−(i+1) of it, inverted or
  /// not by chance that the older bits decide (Owen's scrambling of a van der Corput sequence).
  private static func rank(of state: Int, _ stateBits: Int) -> Int {
    var rank = 0
    for bit in 0..<stateBits {
      let older = UInt64(state >> (bit + 1))
      let digit = (state >> bit) & 1 ^ Int(mixed(older << 8 | UInt64(bit)) & 1)
      rank |= digit << (stateBits - 1 - bit)
    }
    return rank
  }

  /// The finalizer of splitmix64.
  private static func mixed(_ value: UInt64) -> UInt64 {
    var x = value &+ 0x9E37_79B9_7F4A_7C15
    x = (x ^ (x >> 30)) &* 0xBF58_476D_1CE4_E5B9
    x = (x ^ (x >> 27)) &* 0x94D0_49BB_1331_11EB
    return x ^ (x >> 31)
  }

  /// Φ⁻¹(p) by bisection of Φ(x) = erfc(−x/√2) / 2: exact to the last bits that float16 keeps.
  private static func quantile(_ p: Double) -> Double {
    if p > 0.5 { return -quantile(1 - p) }
    var (low, high) = (-8.0, 0.0)
    for _ in 0..<60 {
      let middle = (low + high) / 2
      if erfc(-middle / 2.0.squareRoot()) / 2 < p { low = middle } else { high = middle }
    }
    return (low + high) / 2
  }

  /// The nearest float16 number, ties to even, of a value in its normal range.
  private static func float16(_ value: Double) -> Float {
    let bits = Float(value).bitPattern
    return Float(bitPattern: (bits + 0xFFF + (bits >> 13) & 1) & ~0x1FFF)
  }

  /// T along rows of codes, each of which is a sequence of its own, rotated as the walk says.
  public func levels(_ codes: [UInt8], rows: Int, columns: Int, bits: Int, _ walk: TrellisWalk = .straight) -> [Float] {
    var levels = levels(steps: walk.steps(codes, columns: columns), rows: rows, columns: columns, bits: bits)
    levels.withUnsafeMutableBufferPointer { levels in
      if let start = levels.baseAddress { walk.rotate(start, count: levels.count) }
    }
    return walk.inColumns(levels, columns: columns)
  }

  private func levels(steps codes: [UInt8], rows: Int, columns: Int, bits: Int) -> [Float] {
    [Float](unsafeUninitializedCapacity: codes.count) { out, count in
      codes.withUnsafeBufferPointer { codes in
        guard let from = codes.baseAddress, let to = out.baseAddress else { return }
        for row in 0..<rows {
          ck_trellis_levels(Int32(stateBits), Int32(bits), table, from + row * columns, to + row * columns, columns)
        }
      }
      count = codes.count
    }
  }
}
