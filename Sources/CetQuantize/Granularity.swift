/// Which weights share one scale and zero point.
public enum Granularity: Sendable, Hashable, CustomStringConvertible {
  case perTensor
  /// One per row, that is per index of the quantization axis.
  case perAxis
  /// One per row and run of so many columns; the last run of a row may be shorter.
  case block(Int)

  /// 0: no blocks.
  public var blockSize: Int { if case .block(let size) = self { size } else { 0 } }

  public var description: String {
    switch self {
    case .perTensor: "per-tensor"
    case .perAxis: "per-axis"
    case .block(let size): "block:\(size)"
    }
  }

  public init?(_ text: String) {
    switch text {
    case "per-tensor": self = .perTensor
    case "per-axis": self = .perAxis
    default:
      guard text.hasPrefix("block:"), let size = Int(text.dropFirst(6)), size > 0 else { return nil }
      self = .block(size)
    }
  }
}
