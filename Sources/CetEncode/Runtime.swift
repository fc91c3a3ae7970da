import CetTensor

/// The oldest runtime that a written file must open in. The words are the same in C, JSON, Python and on the command line.
public enum Runtime: Sendable, Equatable, CustomStringConvertible {
  /// onnxruntime 1.minor.
  case onnxruntime(minor: Int)
  case openvino(year: Int)

  /// "ort-1.20", "openvino-2026".
  public init(_ text: String) throws(CetError) {
    func number(_ text: Substring) -> Int? { text.allSatisfy { $0.isASCII && $0.isNumber } ? Int(text) : nil }
    if text.hasPrefix("ort-1."), let minor = number(text.dropFirst(6)), Runtime.minors.contains(minor) {
      self = .onnxruntime(minor: minor)
    } else if text.hasPrefix("openvino-"), let year = number(text.dropFirst(9)), Runtime.years.contains(year) {
      self = .openvino(year: year)
    } else {
      throw CetError(
        .invalidArgument,
        "option min_runtime: expected ort-1.\(Runtime.minors.lowerBound) or later, or openvino-\(Runtime.years.lowerBound) or later, got '\(text)'")
    }
  }

  /// Releases that files were tried in, and later ones.
  private static let minors = 20...999
  private static let years = 2026...2999

  public var description: String {
    switch self {
    case .onnxruntime(let minor): "ort-1.\(minor)"
    case .openvino(let year): "openvino-\(year)"
    }
  }

  /// Widths that MatMulNBits computes with.
  var productWidths: Set<Int> {
    switch self {
    case .onnxruntime(let minor): minor >= 24 ? [2, 4, 8] : [4]
    case .openvino: []
    }
  }

  /// Widths that GatherBlockQuantized reads.
  var tableWidths: Set<Int> {
    switch self {
    case .onnxruntime(let minor): minor >= 24 ? [4, 8] : [4]
    case .openvino: []
    }
  }

  /// What a file is written for that names no runtime: all of the kernels.
  static let usual = Runtime.onnxruntime(minor: 24)
}
