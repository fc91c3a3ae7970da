import CetTensor

/// Codes side by side in bytes, the most significant bit first, cut into runs of as many as fill whole bytes; and how a run is taken
/// apart with whole numbers of 32 bits, into codes by themselves or into states: the last L bits of all codes of a row up to one.
struct PackedRuns: Hashable {
  let bits: Int
  /// Of what is taken out: of a code, or of a state.
  let window: Int
  /// Bytes and codes of a run.
  let bytes: Int
  let codes: Int
  /// Bytes in front of a run that windows of its first codes reach into, never more than a run has.
  let history: Int
  /// Whether rows have one run: what is in front is nothing but zeros, and left out.
  let isAlone: Bool
  /// A run is more than a number has room for: it is taken apart in several, each of some of its bytes.
  private(set) var parts = 1

  /// Bytes of a number at most: the highest bit of the fourth is the sign.
  private static let bytesOfNumber = 3

  /// - Parameters:
  ///   - stateBits: nil: codes are taken out, not states.
  ///   - columns: of a row; nil: rows are not told apart.
  init(bits: Int, stateBits: Int? = nil, columns: Int? = nil) {
    self.bits = bits
    window = stateBits ?? bits
    history = (window - bits + 7) / 8
    var codes = 1
    while bits * codes % 8 != 0 || bits * codes < 8 * history { codes *= 2 }
    self.codes = codes
    bytes = bits * codes / 8
    isAlone = columns.map { $0 <= codes } ?? false
    while !(0..<parts).allSatisfy({ span($0).count <= PackedRuns.bytesOfNumber }) { parts *= 2 }
  }

  var codesOfPart: Int { codes / parts }

  /// Of the bytes of a run, in which parts broadcast.
  var shape: [Int] { parts > 1 ? [1, bytes] : [bytes] }

  /// Of so many codes.
  func count(of codes: Int) -> Int { codes / self.codes + (codes % self.codes).signum() }

  /// The bit, behind the first of the bytes in front, at which a code ends.
  private func end(_ code: Int) -> Int { 8 * history + bits * (code + 1) }

  /// The bytes of a part, from the first in front on.
  private func span(_ part: Int) -> Range<Int> {
    let first = end(part * codesOfPart) - window
    return (first / 8)..<((end((part + 1) * codesOfPart - 1) + 7) / 8)
  }

  /// Bytes that a number may be made of: those in front and a run's own.
  var reach: Int { isAlone ? bytes : history + bytes }

  /// [parts, reach]: what bytes are multiplied by to make a part's number, 0 for bytes that it has none of.
  var places: [Int32] {
    (0..<parts).flatMap { part in
      let span = span(part)
      return ((history + bytes - reach)..<(history + bytes)).map { span.contains($0) ? Int32(1) << Int32(8 * (span.upperBound - 1 - $0)) : 0 }
    }
  }

  /// [parts, codes of a part]: what the number is divided by to bring a window to its lowest bits.
  var divisors: [Int32] {
    (0..<parts).flatMap { part in
      (0..<codesOfPart).map { Int32(1) << Int32(8 * span(part).upperBound - end(part * codesOfPart + $0)) }
    }
  }

  /// Rows of codes in whole runs: codes that are missing in the last of a row are 0.
  func packed(_ values: [UInt8], columns: Int) -> [UInt8] {
    guard columns > 0 else { return [] }
    let rowBytes = count(of: columns) * bytes
    var result = [UInt8](repeating: 0, count: values.count / columns * rowBytes)
    let mask = UInt32(1) << UInt32(bits) - 1
    result.withUnsafeMutableBufferPointer { result in
      values.withUnsafeBufferPointer { values in
        for row in 0..<(values.count / columns) {
          var (word, held, next) = (UInt32(0), 0, row * rowBytes)
          for value in values[(row * columns)..<((row + 1) * columns)] {
            word = word << UInt32(bits) | UInt32(value) & mask
            held += bits
            if held >= 8 {
              held -= 8
              result[next] = UInt8(truncatingIfNeeded: word >> UInt32(held))
              next += 1
            }
          }
          if held > 0 { result[next] = UInt8(truncatingIfNeeded: word << UInt32(8 - held)) }
        }
      }
    }
    return result
  }
}
