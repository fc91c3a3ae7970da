import FoundationEssentials

/// What `cet_model_inspect_json` tells about a model, as tables.
struct ModelDescription {
  private struct Document: Decodable {
    var ir_version: Int
    var opsets: [String: Int]
    var producer: String?
    var sha256: String
    var file_bytes: UInt64
    var smallest_file_bytes: UInt64?
    var compress: Verdict
    var quantizable_weights: UInt64
    var inputs: [Value]
    var outputs: [Value]
    var operators: [Operator]
    var parameters: [Parameter]
    var unplanned: [Unplanned]
    var quantized: Quantized?
    var oldest_runtime: String?
    var oldest_runtime_reason: String?
    var oldest_openvino: String?
    var oldest_openvino_reason: String?
  }

  /// Whether the model can be compressed.
  private struct Verdict: Decodable {
    var status: String
    var reason: String?
  }

  /// A weight that is computed from constants and stays so.
  private struct Unplanned: Decodable {
    var name: String
    var reason: String
  }

  /// What is quantized in the file already.
  private struct Quantized: Decodable {
    var summary: String
    var own: [Own]

    struct Own: Decodable {
      var name: String
      var bits: Int
    }
  }

  private struct Value: Decodable {
    var name: String
    var type: String?
    var shape: [Size]?

    var text: String { "\(name) \(type ?? "any type") \(shape.map { "[\($0.map(\.text).joined(separator: ", "))]" } ?? "")" }
  }

  /// A fixed size, a symbol, or null.
  private struct Size: Decodable {
    var text: String

    init(from decoder: any Decoder) throws {
      let container = try decoder.singleValueContainer()
      text =
        container.decodeNil()
        ? "?" : try (try? container.decode(Int.self)).map(String.init) ?? container.decode(String.self)
    }
  }

  private struct Operator: Decodable {
    var `operator`: String
    var count: Int
    var supported: Bool
    var derivatives: String?
    var obstacle: String?
  }

  private struct Parameter: Decodable {
    var name: String
    var shape: [Int]
    var offset: UInt64
    var count: UInt64
    var node: String
    var `operator`: String
    var computed: Bool
    /// Why it stays float.
    var kept: String?
  }

  private let document: Document

  init(_ json: String) throws {
    do {
      document = try JSONDecoder().decode(Document.self, from: Data(json.utf8))
    } catch {
      throw Failure("the library's description of the model has another form than this tool knows")
    }
  }

  /// The node that reads a parameter, and its operator.
  func reader(of parameter: String) -> (node: String, operatorType: String) {
    document.parameters.first { $0.name == parameter }.map { ($0.node, $0.operator) } ?? ("", "")
  }

  var opsetText: String {
    document.opsets.sorted { $0.key < $1.key }.map { "\($0.key.isEmpty ? "ai.onnx" : $0.key) \($0.value)" }
      .joined(separator: ", ") + ", IR \(document.ir_version)"
  }

  /// What a comparison in the library's arithmetic leaves out of what runtimes do with codes; nil: nothing.
  var arithmeticNote: String? {
    let types = Set(document.operators.map(\.operator))
    guard types.contains("DequantizeLinear") else { return nil }
    if types.contains("QuantizeLinear") {
      return "activations are rounded and computed with as floats; kernels of integers differ by single codes (--runtime)"
    }
    guard types.contains("MatMul") || types.contains("Gemm") else { return nil }
    return "activations are float; onnxruntime's default computes matrix products with 8-bit ones, which grows the error (--runtime measures it)"
  }

  var operatorText: String {
    let missing = document.operators.filter { !$0.supported }
    guard !missing.isEmpty else {
      return "\(document.operators.reduce(0) { $0 + $1.count }) nodes of \(document.operators.count) operators, all known"
    }
    return "not known: " + missing.map(\.operator).joined(separator: ", ")
  }

  var sha256: String { document.sha256 }

  /// Weights in graph order with the bits that libcet gave them; nil: float.
  var weights: [(name: String, bits: Int?, count: UInt64)] {
    let bits = Dictionary((document.quantized?.own ?? []).map { ($0.name, $0.bits) }, uniquingKeysWith: { $1 })
    return document.parameters.map { ($0.name, bits[$0.name], $0.count) }
  }

  /// - Parameter withRuntimes: whether every release that was tried gets a line.
  func text(withRuntimes: Bool) -> String { text + (withRuntimes ? "\n" + runtimes.text : "") }

  /// Releases of onnxruntime in which the limits were tried, by minor version.
  private static let tried = [20, 21, 22, 23, 24, 25, 26, 27, 28, 30, 32]

  private var runtimes: Table {
    var table = Table([("runtime", .left), ("opens the file", .left)])
    let oldest = document.oldest_runtime.flatMap { Int($0.dropFirst("ort-1.".count)) }
    for minor in ModelDescription.tried {
      let opens = oldest.map { minor >= $0 } ?? false
      table.add(["onnxruntime 1.\(minor)", opens ? "yes" : "no: needs \(document.oldest_runtime_reason ?? "a later release")"])
    }
    let reason = document.oldest_openvino_reason
    table.add(["OpenVINO 2026", document.oldest_openvino != nil ? "yes" : "no: \(reason ?? "not known")"])
    return table
  }

  private var text: String {
    var operators = Table([("operator", .left), ("nodes", .right), ("runs", .left), ("exact HVP rule", .left)])
    for entry in document.operators {
      operators.add([
        entry.operator, String(entry.count), entry.supported ? "yes" : "no: \(entry.obstacle ?? "unknown operator")",
        entry.derivatives ?? "-",
      ])
    }
    let bits = Dictionary((document.quantized?.own ?? []).map { ($0.name, $0.bits) }, uniquingKeysWith: { $1 })
    var parameters = Table([
      ("parameter", .left), ("node", .left), ("op", .left), ("shape", .right), ("weights", .right), ("in the file", .left),
    ])
    for entry in document.parameters {
      let form = bits[entry.name].map { "\($0) bits" } ?? (entry.computed ? "computed from constants" : "float")
      let stays = entry.kept.map { ", stays: \($0)" } ?? ""
      parameters.add([
        entry.name, entry.node, entry.operator, entry.shape.map(String.init).joined(separator: "x"), grouped(entry.count), form + stays,
      ])
    }
    for entry in document.unplanned { parameters.add([entry.name, "-", "-", "-", "-", entry.reason]) }
    return operators.text + "\n" + parameters.text + "\n" + listing(summary)
  }

  private var summary: [(name: String, value: String)] {
    var lines = document.inputs.map { (name: "input", value: $0.text) } + document.outputs.map { (name: "output", value: $0.text) }
    lines += [("opset", opsetText), ("producer", document.producer ?? "-"), ("SHA-256", document.sha256)]
    lines.append(("weights", grouped(document.quantizable_weights)))
    if let quantized = document.quantized { lines.append(("quantized", quantized.summary)) }
    lines.append(("file", "\(grouped(document.file_bytes)) B"))
    if let smallest = document.smallest_file_bytes {
      let ratio = Double(document.file_bytes) / Double(max(1, smallest))
      lines.append(("smallest file", "\(grouped(smallest)) B (\(fixed(ratio))x, the fewest bits everywhere)"))
    }
    let runtime = document.oldest_runtime.map { "onnxruntime 1.\($0.dropFirst("ort-1.".count)) and later" } ?? "no onnxruntime known"
    lines.append(("opens in", runtime + (document.oldest_runtime_reason.map { " (\($0))" } ?? "")))
    lines.append(("compress", document.compress.status + (document.compress.reason.map { ": \($0)" } ?? "")))
    return lines
  }
}
