import CetGraph
import CetTensor

/// A value of the model, computed from its inputs, that is rounded to a grid while the model runs.
public struct Activation: Sendable, Equatable {
  /// The graph value.
  public let name: String
  /// Values that operators make of this one by moving its elements alone: they are rounded to the same grid, which changes
  /// nothing in them and lets runtimes compute with codes on.
  public let copies: [String]
  /// The layers that multiply it or a copy, by index.
  public let layers: [Int]

  public var values: [String] { [name] + copies }

  public init(name: String, copies: [String], layers: [Int]) {
    self.name = name
    self.copies = copies
    self.layers = layers
  }
}

/// Finds the activations of a model whose layers are quantized: what these multiply, and what stands at the outputs of
/// operators that runtimes compute with integers, where their inputs are codes. Those are convolutions, with a Relu or Clip
/// behind, which runtimes take in, sums and concatenations. The output of a matrix product stays float: kernels give that out
/// as well.
///
/// Only float32 values of the main graph count; what the model gives out stays as it is, and so does what is made of codes
/// already.
public struct Activations: Sendable {
  public let all: [Activation]
  /// Planned layers that multiply something that cannot be rounded here, by index.
  public let left: [Int]

  /// - Parameter planned: layers that are quantized, by index.
  public init(_ found: LinearLayers, planned: Set<Int>) {
    let search = ActivationSearch(found, planned)
    search.run()
    all = search.activations
    left = search.left
  }

  /// Throws unless every one of these values is one that a file can round.
  public static func check(_ values: [String], in found: LinearLayers) throws(CetError) {
    let search = ActivationSearch(found, [])
    for value in values where !search.isPossible(value) {
      throw CetError(.invalidArgument, "activation '\(value)' is no value of the model's graph that can be rounded")
    }
  }
}

private final class ActivationSearch {
  private let found: LinearLayers
  private let index: GraphIndex
  private let planned: [Int]
  /// Names of layers' inputs and of what they multiply, in the order in which they are found.
  private var chosen: [String] = []
  private var isChosen: Set<String> = []
  private(set) var left: [Int] = []
  private(set) var activations: [Activation] = []
  /// See `isOfOtherFloats`.
  private var otherFloats: [String: Bool] = [:]

  init(_ found: LinearLayers, _ planned: Set<Int>) {
    self.found = found
    index = GraphIndex(found.model.graph)
    self.planned = planned.sorted()
  }

  func run() {
    var inputs: [Int: String] = [:]
    for layer in planned {
      guard found.layers[layer].usesStatistics else { continue }
      guard let input = found.layers[layer].input, isPossible(input), found.layers[layer].elementType == .float32 else {
        left.append(layer)
        continue
      }
      inputs[layer] = input
      choose(input)
    }
    let convolutions = Set(inputs.keys.filter { if case .convolution = found.layers[$0].kind { true } else { false } }.map { found.layers[$0].output })
    for node in found.model.graph.nodes where !node.outputs.isEmpty {
      let isInteger = convolutions.contains(node.firstOutput) || joins(node)
      if isInteger, let output = behindRelu(node.firstOutput) { choose(output) }
    }
    let readers = Dictionary(grouping: inputs.keys.sorted()) { origin(inputs[$0] ?? "") }
    let copies = Dictionary(grouping: chosen.filter { origin($0) != $0 }) { origin($0) }
    var places: [String: Int] = [:]
    for (place, node) in found.model.graph.nodes.enumerated() { for name in node.outputs { places[name] = place } }
    activations = chosen.filter { origin($0) == $0 }
      .sorted { (places[$0] ?? -1, $0) < (places[$1] ?? -1, $1) }
      .map { Activation(name: $0, copies: copies[$0] ?? [], layers: readers[$0] ?? []) }
  }

  private func choose(_ value: String) {
    guard isPossible(value), isChosen.insert(value).inserted else { return }
    chosen.append(value)
  }

  /// Sums and concatenations of chosen values alone.
  private func joins(_ node: Node) -> Bool {
    node.domain.isEmpty && ["Add", "Concat"].contains(node.operatorType) && node.inputs.allSatisfy { isChosen.contains(origin($0)) }
      && !node.inputs.isEmpty
  }

  /// A Relu or Clip that alone reads a value gives the value that counts.
  private func behindRelu(_ value: String) -> String? {
    let readers = index.readers(of: value)
    guard readers.count == 1, !index.isOutput(value), let reader = readers.first else { return value }
    let next = index.nodes[reader]
    guard next.domain.isEmpty, ["Relu", "Clip"].contains(next.operatorType), next.input(0) == value, index.holder(of: reader) == nil else { return value }
    return next.firstOutput
  }

  /// The chosen value that a value's elements are of.
  private func origin(_ value: String) -> String {
    var (result, name) = (value, value)
    while let place = index.producer(of: name), let moved = ActivationSearch.moved(index.nodes[place], to: name), index.holder(of: place) == nil {
      name = moved
      if isChosen.contains(name) { result = name }
    }
    return result
  }

  /// What an operator moves without computing: its output is values of its input.
  private static func moved(_ node: Node, to output: String) -> String? {
    guard node.domain.isEmpty, !node.input(0).isEmpty else { return nil }
    switch node.operatorType {
    case "Identity", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Split": return node.input(0)
    // Its other output is indices.
    case "MaxPool": return output == node.firstOutput ? node.input(0) : nil
    default: return nil
    }
  }

  /// Whether a value is of float16, bfloat16 or float64 in the file, as what a Cast made of it further up says: such types go from
  /// the first operands of operators to what these make.
  private func isOfOtherFloats(_ value: String) -> Bool {
    let file = found.index
    var (name, passed, type) = (value, [String](), ElementType?.none)
    // What is known of a value is kept, so that a long chain is gone through once.
    while otherFloats[name] == nil {
      passed.append(name)
      otherFloats[name] = false
      guard let place = file.producer(of: name) else {
        type = file.constants[name]?.type ?? found.inlining.model.graph.inputs.first { $0.name == name }?.type
        break
      }
      let node = file.nodes[place]
      if node.operatorType == "Cast", case .int(let code)? = node.attributes["to"] {
        type = ElementType(rawValue: Int32(truncatingIfNeeded: code))
        break
      }
      name = node.input(["Where", "CastLike", "DequantizeLinear"].contains(node.operatorType) ? 1 : 0)
    }
    let isOther = type.map { $0.isFloatingPoint && $0 != .float32 } ?? otherFloats[name] ?? false
    for name in passed { otherFloats[name] = isOther }
    return isOther
  }

  /// Whether an edit can put something between what makes a value and what reads it.
  func isPossible(_ value: String) -> Bool {
    guard !value.isEmpty, index.isFed(value), !index.ambiguous.contains(value), !index.isOutput(value),
      !isOfOtherFloats(value)
    else { return false }
    let readers = index.readers(of: value)
    guard !readers.contains(where: { ["QuantizeLinear", "DynamicQuantizeLinear"].contains(index.nodes[$0].operatorType) }) else { return false }
    guard let place = index.producer(of: value) else {
      // An input keeps its name: each reader is told the new one, which a branch cannot be.
      return found.model.graph.inputs.contains { $0.name == value && ($0.type ?? .float32) == .float32 }
        && readers.allSatisfy { index.holder(of: $0) == nil && index.producer(of: index.nodes[$0].firstOutput) == $0 }
        && !found.model.graph.nodes.contains { $0.innerReads.contains(value) }
    }
    let node = index.nodes[place]
    return index.holder(of: place) == nil && index.producer(of: node.firstOutput) == place && node.operatorType != "DequantizeLinear"
  }
}
