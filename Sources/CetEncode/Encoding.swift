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

  /// The list of encodings: each says everything else in a file of its own.
  var rules: any WeightEncoding.Type {
    switch self {
    case .planes: PlaneEncoding.self
    case .qdq: DequantizeEncoding.self
    case .float: FloatEncoding.self
    }
  }

  public var makesFilesSmaller: Bool { rules.makesFilesSmaller }

  /// Where the levels of a written tensor may lie.
  public func gridForm(_ granularity: Granularity) -> GridForm {
    GridForm(granularity: granularity) { rules.zeroUnit(bits: $0) }
  }

  /// What a caller should know before trusting the figures.
  public func notes(_ layers: [LinearLayer]) -> [String] { rules.notes(layers) }
}

/// One way of writing quantized weights: what it means for their levels, for bytes, and for the model's nodes.
protocol WeightEncoding {
  static var makesFilesSmaller: Bool { get }

  /// An operator set in which every tensor can be written.
  static var sufficientOpset: Int { get }

  /// What zero points count in: halves (2) where a level between two codes is worth having, else 1. It depends on the bits
  /// alone, so that the size of a file is known before its codes are.
  static func zeroUnit(bits: Int) -> Int

  /// Bytes of `count` codes, and of the scales and zero points of `gridCount` grids.
  static func storedBytes(count: Int, gridCount: Int, bits: Int) -> (codes: Int, grids: Int)

  static func notes(_ layers: [LinearLayer]) -> [String]

  /// - Parameters:
  ///   - opset: of the model that weights are written into.
  ///   - names: what is taken in it.
  init(opset: Int, names: NameScope)

  /// The tensor that takes the weight's place; nil where nodes make its value from what was added to `initializers`.
  mutating func add(_ weight: WrittenWeight) throws -> Tensor?

  /// What stands in the model beside what was there, and which versions of operators and format that needs; nil: any.
  var initializers: [Initializer] { get }
  var nodes: [Node] { get }
  var minimumOpset: Int? { get }
  var minimumIRVersion: Int64? { get }
}

/// An encoding whose weights are made by nodes, in float32.
protocol NodeEncoding: WeightEncoding {
  var nodes: [Node] { get set }
  var names: NameScope { get set }

  /// Adds nodes that make the value `result` of the weight.
  mutating func add(_ weight: WrittenWeight, making result: String) throws
}

extension NodeEncoding {
  mutating func add(_ weight: WrittenWeight) throws -> Tensor? {
    let (name, type) = (weight.form.name, weight.elementType)
    let wide = type == .float32 ? name : names.takeValue("\(name).cet.wide")
    try add(weight, making: wide)
    if wide != name {
      nodes.append(Node("Cast", inputs: [wide], outputs: [name], attributes: ["to": .int(Int64(type.rawValue))]))
    }
    return nil
  }
}
