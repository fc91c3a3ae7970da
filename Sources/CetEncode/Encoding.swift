import CetGraph
import CetLayers
import CetQuantize
import CetTensor

/// How quantized weights stand in a file. The words are the same in C, JSON, Python and on the command line, where
/// their order is this one.
public enum Encoding: String, Sendable, CaseIterable {
  case planes
  case qdq
  case float
  case ort

  /// The list of encodings: each says everything else in a file of its own.
  var rules: any WeightEncoding.Type {
    switch self {
    case .planes: PlaneEncoding.self
    case .qdq: DequantizeEncoding.self
    case .float: FloatEncoding.self
    case .ort: KernelEncoding.self
    }
  }

  public var makesFilesSmaller: Bool { rules.makesFilesSmaller }

  public var carriesTrellis: Bool { rules.carriesTrellis }

  /// Why it cannot have trellis codes; nil: it can.
  public var trellisObstacle: String? { carriesTrellis ? nil : "encoding '\(rawValue)' has none" }

  /// Whether files can round activations to these bits. Weights beside codes are codes of 8 bits themselves: runtimes fold planes to
  /// floats, of which QuantizeLinear makes codes, or find such codes in the file. Beside activations of fewer bits a weight stays
  /// float, which it is not under a DequantizeLinear that is not folded; kernels of `ort` take floats.
  public func takesActivations(_ bits: some Sequence<Int>) -> Bool {
    switch self {
    case .planes, .float: true
    case .qdq: bits.allSatisfy { $0 >= Activation.integerBits }
    case .ort: false
    }
  }

  /// Why a file that rounds activations does not open in `runtime`; nil: it does.
  public func activationObstacle(_ runtime: Runtime?) -> String? {
    guard self == .planes, case .openvino? = runtime, let runtime else { return nil }
    return "\(runtime) opens files of 'planes' that round activations with INFERENCE_PRECISION_HINT f32 alone"
  }

  /// Whether weights beside codes of activations stand in the file as their codes of 8 bits, whatever bits a plan gives them.
  public var holdsIntegers: Bool { self == .qdq }

  /// What codes a written tensor may have.
  /// - Parameters:
  ///   - trellis: the code of tensors that have trellis codes.
  ///   - layers: whose weights are rounded; none where only forms count.
  public func codeRules(
    _ granularity: Granularity, coding: CodingPolicy = .affine, trellis: TrellisCode? = nil, layers: [LinearLayer] = [],
    runtime: Runtime? = nil
  ) -> CodeRules {
    var narrow: [String: Set<Int>] = [:]
    for layer in layers { narrow[layer.name] = narrowScaleWidths(of: layer, granularity, runtime) }
    return CodeRules(granularity: granularity, coding: coding, trellis: carriesTrellis ? trellis : nil, narrowScales: narrow) {
      rules.zeroUnit(bits: $0)
    }
  }

  /// Widths at which a layer's scales are float16 in the file, as kernels have them whose other operand is float16; nil: none.
  func narrowScaleWidths(of layer: LinearLayer, _ granularity: Granularity, _ runtime: Runtime?) -> Set<Int>? {
    guard self == .ort, layer.elementType == .float16 else { return nil }
    return KernelEncoding.kernelWidths(layer, granularity, runtime)
  }

  /// The granularity where none is asked for: blocks where kernels take most of the weights.
  public func usualGranularity(of layers: [LinearLayer], _ runtime: Runtime?) -> Granularity {
    self == .ort && Encoding.chosen(for: layers, runtime ?? .usual) == .ort ? KernelEncoding.usualBlocks : .perAxis
  }

  /// Widths at which a kernel computes with a layer's codes as they are.
  public func kernelWidths(of layer: LinearLayer, _ granularity: Granularity, _ runtime: Runtime?) -> Set<Int> {
    self == .ort ? KernelEncoding.kernelWidths(layer, granularity, runtime) : []
  }

  /// Of the widths that are allowed those that a layer may have: where a kernel computes with some of them, these.
  public func widths(_ allowed: [Int], of layer: LinearLayer, _ granularity: Granularity, _ runtime: Runtime?) -> [Int] {
    let allowed = allowed.filter { obstacle(bits: $0, of: layer, granularity, runtime) == nil }
    let kernels = kernelWidths(of: layer, granularity, runtime)
    let possible = allowed.filter(kernels.contains)
    return possible.isEmpty ? allowed : possible
  }

  /// The encoding that keeps most weights small in files that open in `runtime`: onnxruntime's kernels where they compute with
  /// more than half of them, else planes, which open everywhere and are unpacked when a file is loaded.
  /// - Parameters:
  ///   - granularity: nil: what is usual for kernels.
  ///   - bits: the allowed widths; nil: any.
  public static func chosen(
    for layers: [LinearLayer], _ runtime: Runtime?, _ granularity: Granularity? = nil, bits: [Int]? = nil
  ) -> Encoding {
    guard let runtime else { return .planes }
    let count = layers.reduce(0.0) { $0 + Double($1.count) }
    let inKernels = layers.reduce(0.0) { sum, layer in
      let widths = KernelEncoding.kernelWidths(layer, granularity ?? KernelEncoding.usualBlocks, runtime)
      return widths.contains { bits?.contains($0) ?? true } ? sum + Double(layer.count) : sum
    }
    return 2 * inKernels > count ? .ort : .planes
  }

  /// The encoding beside activations that are rounded, where onnxruntime's own kernels, which take floats, are of no use. OpenVINO
  /// finds none for codes made of planes with bfloat16, its usual precision where the processor has it.
  public static func besideActivations(_ bits: some Sequence<Int>, _ runtime: Runtime?) -> Encoding {
    if case .openvino? = runtime, Encoding.qdq.takesActivations(bits) { .qdq } else { .planes }
  }

  /// What a caller should know before trusting the figures.
  /// - Parameter activations: those that the file rounds.
  public func notes(_ layers: [LinearLayer], activations: [WrittenActivation] = []) -> [String] {
    let integers = activations.integerLayers(layers)
    let wide = integers.filter { $1.grid.bits > Activation.integerBits }.keys.sorted().map { layers[$0] }
    let others = layers.indices.filter { integers[$0] == nil }.map { layers[$0] }
    return rules.notes(others) + DequantizeEncoding.productNotes(wide, "activations of 16 bits", losses: "16-bit")
  }
}

/// One way of writing quantized weights: what it means for their levels, for bytes, and for the model's nodes.
protocol WeightEncoding {
  static var makesFilesSmaller: Bool { get }

  /// An operator set in which every tensor can be written.
  static var sufficientOpset: Int { get }

  /// Whether trellis codes can be written.
  static var carriesTrellis: Bool { get }

  /// What zero points of affine codes count in: halves (2) where a level between two codes is worth having, else 1. It depends on the bits
  /// alone, so that the size of a file is known before its codes are.
  static func zeroUnit(bits: Int) -> Int

  /// Bytes of rows of codes, and of scales, one a block of each row, with the zero points that affine codes have. What tensors
  /// share, such as a trellis' table, is left out.
  static func storedBytes(rows: Int, columns: Int, blocks: Int, _ format: CodeFormat) -> (codes: Int, grids: Int)

  /// Whether the last block of a row is filled up to a whole one.
  static var fillsBlocks: Bool { get }

  static func notes(_ layers: [LinearLayer]) -> [String]

  /// - Parameters:
  ///   - opset: of the model that weights are written into.
  ///   - names: what is taken in it.
  ///   - runtime: the oldest that the file must open in; nil: none is named.
  init(opset: Int, names: NameScope, runtime: Runtime?)

  /// The tensors that take the weights' places; nil where nodes make the value from what was added to `initializers`.
  mutating func add(_ weights: [WrittenWeight]) throws(CetError) -> [Tensor?]

  /// What stands in the model beside what was there, and which versions of operators and format that needs; nil: any.
  var initializers: [Initializer] { get }
  var nodes: [Node] { get }
  var minimumOpset: Int? { get }
  var minimumIRVersion: Int64? { get }
  /// Operator sets of other domains.
  var domains: [String: Int] { get }

  /// What takes the place of a node that reads a weight in a form of its own; nil: it stays.
  mutating func reading(_ node: Node) -> [Node]?
}

extension WeightEncoding {
  static var fillsBlocks: Bool { false }

  var domains: [String: Int] { [:] }

  mutating func reading(_ node: Node) -> [Node]? { nil }
}

/// An encoding whose weights are made by nodes, in float32.
protocol NodeEncoding: WeightEncoding {
  var nodes: [Node] { get set }
  var names: NameScope { get set }

  /// Adds nodes that make the values of weights that are written together, each under its result's name.
  mutating func add(_ weights: [WrittenWeight], making results: [String]) throws(CetError)

  /// Weights that are written together, by index.
  static func groups(_ weights: [WrittenWeight]) -> [[Int]]
}

extension NodeEncoding {
  mutating func add(_ weights: [WrittenWeight]) throws(CetError) -> [Tensor?] {
    for group in Self.groups(weights) {
      let members = group.map { weights[$0] }
      let wide = members.map { $0.elementType == .float32 ? $0.form.name : names.takeValue("\($0.form.name).cet.wide") }
      try add(members, making: wide)
      for (weight, value) in zip(members, wide) where value != weight.form.name {
        nodes.append(
          Node("Cast", inputs: [value], outputs: [weight.form.name], attributes: ["to": .int(Int64(weight.elementType.rawValue))]))
      }
    }
    return weights.map { _ in nil }
  }
}
