import CetTensor

/// How often values of every size stand in an activation: counts by sign, exponent and the first bits of the fraction, beside the
/// exact least and greatest value. Counts add up in any order to the same, so that nothing depends on the number of threads.
public struct ValueHistogram: Sendable {
  /// Bins are at most 1/64 of their value wide.
  private static let fractionBits = 6
  private static let shift = 23 - UInt32(fractionBits)
  private static let binsPerSign = Int(1) << (8 + fractionBits)
  /// Bytes that one holds.
  public static let byteCount = 2 * binsPerSign * MemoryLayout<Int>.stride

  public private(set) var low = Float.infinity
  public private(set) var high = -Float.infinity
  public private(set) var count = 0
  /// Whether a value was NaN or infinite.
  public private(set) var hasNonFinite = false
  /// Negative values first, each sign by rising magnitude.
  private var counts = [Int](repeating: 0, count: 2 * ValueHistogram.binsPerSign)

  public init() {}

  public mutating func add(_ values: UnsafeBufferPointer<Float>) {
    count += values.count
    counts.withUnsafeMutableBufferPointer { counts in
      for value in values {
        guard value.isFinite else {
          hasNonFinite = true
          continue
        }
        low = min(low, value)
        high = max(high, value)
        counts[ValueHistogram.bin(value)] += 1
      }
    }
  }

  public mutating func merge(_ other: ValueHistogram) {
    low = min(low, other.low)
    high = max(high, other.high)
    count += other.count
    hasNonFinite = hasNonFinite || other.hasNonFinite
    for bin in counts.indices { counts[bin] += other.counts[bin] }
  }

  /// Whether all values are the same.
  public var isConstant: Bool { low >= high }

  private static func bin(_ value: Float) -> Int {
    let magnitude = Int(value.magnitude.bitPattern >> shift)
    return value < 0 ? magnitude : binsPerSign + magnitude
  }

  /// The magnitude in the middle of a bin of either sign.
  private static func magnitude(_ bin: Int) -> Float {
    Float(bitPattern: UInt32(bin % binsPerSign) << shift | 1 << (shift - 1))
  }

  /// The range that leaves out so many of the values at either end, as a share, at most; to the width of a bin.
  public func range(without share: Double) -> (low: Float, high: Float) {
    let allowed = Int(Double(count) * share / 2)
    var (low, high) = (self.low, self.high)
    var left = allowed
    // From the greatest negative magnitude towards zero and on to the positive ones.
    let rising = (0..<ValueHistogram.binsPerSign).reversed().map { $0 } + (ValueHistogram.binsPerSign..<counts.count)
    for bin in rising {
      left -= counts[bin]
      if left < 0 {
        low = max(low, bin < ValueHistogram.binsPerSign ? -ValueHistogram.magnitude(bin) : ValueHistogram.magnitude(bin))
        break
      }
    }
    left = allowed
    for bin in rising.reversed() {
      left -= counts[bin]
      if left < 0 {
        high = min(high, bin < ValueHistogram.binsPerSign ? -ValueHistogram.magnitude(bin) : ValueHistogram.magnitude(bin))
        break
      }
    }
    return (low, high)
  }

  /// The range, cut at one magnitude on both sides, of least squared error on a grid of so many bits: values inside are off by a
  /// twelfth of the squared step on average, zero by nothing, those outside by what is cut.
  public func leastSquaresRange(bits: Int) -> (low: Float, high: Float) {
    let peak = max(-low, high)
    guard peak > 0, peak.isFinite else { return (low, high) }
    let filled = counts.indices.filter { counts[$0] > 0 }.map { bin in
      (magnitude: Double(ValueHistogram.magnitude(bin)), isNegative: bin < ValueHistogram.binsPerSign, count: Double(counts[bin]))
    }
    var best = (error: Double.infinity, low: low, high: high)
    for step in 0..<48 {
      // Down to a sixty-fourth of the peak, an eighth of an octave at a time.
      var cut = peak
      for _ in 0..<step { cut *= 0.917004 }
      let (low, high) = (max(self.low, -cut), min(self.high, cut))
      let width = (Double(max(high, 0)) - Double(min(low, 0))) / Double((1 << bits) - 1)
      var error = 0.0
      for bin in filled where bin.magnitude > 0 {
        let limit = bin.isNegative ? Double(-low) : Double(high)
        let beyond = bin.magnitude - limit
        error += bin.count * (beyond > 0 ? beyond * beyond : min(width * width / 12, bin.magnitude * bin.magnitude))
      }
      if error < best.error { best = (error, low, high) }
    }
    return (best.low, best.high)
  }
}
