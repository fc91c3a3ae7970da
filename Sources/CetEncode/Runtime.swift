import CetGraph
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

  /// Widths that MatMulNBits computes with where what it multiplies is of this type.
  func productWidths(_ type: ElementType) -> Set<Int> {
    switch self {
    case .onnxruntime(let minor): minor >= (type == .float16 ? 28 : 24) ? [2, 4, 8] : minor >= 23 ? [4, 8] : [4]
    case .openvino: [2, 4, 8]
    }
  }

  /// Whether kernels compute with 8 bits, which lose next to nothing.
  public var hasWideKernels: Bool { productWidths(.float32).contains(8) && tableWidths.contains(8) }

  /// Widths that GatherBlockQuantized reads.
  var tableWidths: Set<Int> {
    switch self {
    case .onnxruntime(let minor): minor >= 27 ? [2, 4, 8] : minor >= 23 ? [4, 8] : [4]
    case .openvino: [4, 8]
    }
  }

  /// Whether GatherBlockQuantized may have a last block that is shorter than the others.
  var takesPartialBlocks: Bool { if case .openvino = self { false } else { true } }

  /// Whether it opens files with codes of the type UINT2 (operator set 25).
  var readsTwoBitType: Bool {
    switch self {
    case .onnxruntime(let minor): minor >= 24
    case .openvino: false
    }
  }

  /// The OpenVINO whose limits are known.
  public static let triedOpenVINO = Runtime.openvino(year: 2026)

  /// What a file is written for that names no runtime: all of the kernels but tables of 2 bits.
  public static let usual = Runtime.onnxruntime(minor: 24)
}

extension Runtime {
  /// Minor versions of onnxruntime with the operator set and format version up to which they load models, as tried with releases
  /// from 1.20.1 to 1.32.0: each entry holds from its version on.
  private static let loading: [(minor: Int, opset: Int, irVersion: Int64)] = [
    (20, 21, 10), (21, 22, 10), (23, 23, 11), (24, 25, 13), (25, 26, 13), (32, 28, 14),
  ]

  /// Domains of operators that onnxruntime brings along.
  private static let domains: Set = [
    "", "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview.training", "com.microsoft", "com.microsoft.experimental",
    "com.microsoft.nchwc",
  ]

  /// The oldest onnxruntime of those tried that opens a model, as far as versions, domains and this library's kernels tell, and what
  /// older ones lack. Without a runtime none does, for the reason.
  public static func oldest(for model: Model) -> (runtime: Runtime?, reason: String?) {
    let functions = Set(model.functions.map { [$0.domain, $0.name] })
    let nodes = model.graph.nodes.flattened + model.functions.flatMap(\.nodes.flattened)
    if let node = nodes.first(where: { !domains.contains($0.domain) && !functions.contains([$0.domain, $0.operatorType]) }) {
      return (nil, "operator \(node.operatorType) of domain \(node.domain)")
    }
    guard let entry = loading.first(where: { model.opset <= $0.opset && model.irVersion <= $0.irVersion }) else {
      return (nil, "operator set \(model.opset), IR version \(model.irVersion)")
    }
    var (minor, reason) = (entry.minor, entry.minor > 20 ? "operator set \(model.opset), IR version \(model.irVersion)" : nil)
    let halves = Set(model.graph.initializers.lazy.filter { $0.tensor.type == .float16 }.map(\.name))
    for node in nodes where node.domain == "com.microsoft" {
      guard ["MatMulNBits", "GatherBlockQuantized"].contains(node.operatorType) else { continue }
      let bits = if case .int(let value)? = node.attributes["bits"] { Int(clamping: value) } else { 4 }
      let isProduct = node.operatorType == "MatMulNBits"
      let type = isProduct && halves.contains(node.input(2)) ? ElementType.float16 : .float32
      let isLong = if isProduct, case .int(let size)? = node.attributes["block_size"] { size > 256 } else { false }
      let needed = [20, 23, 24, 27, 28, 32].first { tried in
        let runtime = Runtime.onnxruntime(minor: tried)
        // Blocks of 512 give NaN, or are not opened, before.
        if isLong, tried < 32 { return false }
        return (isProduct ? runtime.productWidths(type) : runtime.tableWidths).contains(bits)
      }
      guard let needed else { return (nil, "\(node.operatorType) with \(bits) bits") }
      if needed > minor {
        let what = "\(bits) bits\(type == .float16 ? " of float16" : "")\(isLong ? " in blocks of more than 256" : "")"
        (minor, reason) = (needed, "\(node.operatorType) with \(what)")
      }
    }
    return (.onnxruntime(minor: minor), reason)
  }
}
