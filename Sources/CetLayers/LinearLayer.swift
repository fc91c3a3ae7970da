import CetGraph
import CetTensor

/// A weight tensor and the linear operators that read it.
public struct LinearLayer: Sendable {
  public enum Kind: Sendable, Equatable {
    case convolution(groups: Int)
    case transposedConvolution(groups: Int)
    /// A matrix product x·W whose constant operand is [K, N] (`rowsFirst` false) or [N, K] (true), axes of size 1 in
    /// front left aside.
    case matrix(rowsFirst: Bool)
    /// A matrix product W·x: [M, K].
    case leftMatrix
    /// Rows in equally many groups, whose entries are blocks that see values of their own: what each block of each group
    /// multiplies. Recurrent weights.
    case blocks([[String]])
    /// Rows picked by index.
    case table
    /// Used in ways that have no common matrix form: rounded without input statistics.
    case other
  }

  /// Where the mean of the output error can be put.
  public enum Bias: Sendable {
    /// An initializer that only this layer's node reads, at the given input of the node.
    case present(name: String)
    /// A new initializer of this name, and what replaces the node so that it is read.
    case addable(name: String, replacement: [Node])
    case none
  }

  public let name: String
  public let shape: [Int]
  /// In the file; the engine computes with float32.
  public let elementType: ElementType
  public let kind: Kind
  /// Axis of the output channels (rows of the table): the quantization axis.
  public let axis: Int
  /// The node that reads the weight; the first one when several do.
  public let node: Node
  /// Name of the activation that the weight multiplies; nil for tables, and for blocks, which name theirs.
  public let input: String?
  /// Name of the product; "" where there is none by itself.
  public let output: String
  public let bias: Bias
  /// Element type of the bias in the file.
  public let biasType: ElementType
  /// Whether a node that is no layer reads the weight, such as Transpose.
  public var isMoved = false
  /// In how many ways products read the weight: on the left or right, as it is or turned round, and what moves it as one more.
  public var orientations = 0
  /// Whether the node stands in a loop's body.
  public var isRepeated = false
  /// Whether an edit can replace the node: it is named by its first output, which another branch may make too.
  public var isReplaceable = true

  /// Names of the values that statistics are taken from, each once.
  public var observed: [String] {
    guard case .blocks(let names) = kind else { return input.map { [$0] } ?? [] }
    return names.flatMap { $0 }.reduce(into: []) { if !$0.contains($1) { $0.append($1) } }
  }
  /// Whether all of the layer's inputs are there before its first output, so that it can be fitted to them in turn.
  public var isSequential: Bool {
    if case .blocks = kind { return false }
    return !isRepeated
  }
  public var count: Int { shape.elementCount }
  /// Output channels, the length of a bias.
  public var channels: Int { shape[axis] }
  /// Initializer that holds the bias in the file.
  public var ownBias: String? { if case .present(let name) = bias { name } else { nil } }
  /// Initializer that holds or can hold the bias.
  public var biasName: String? {
    switch bias {
    case .present(let name), .addable(let name, _): name
    case .none: nil
    }
  }
}

extension [LinearLayer] {
  /// The weights of the layers as one parameter vector.
  public var parameters: [ParameterSlot] { ParameterSlot.laidOut(map { ($0.name, $0.shape) }) }
}
