import CetGraph
import CetOperators
import CetTensor

/// Weights that a model computes from constants alone: W + A·B, W · mask, or codes and what decodes them.
///
/// Seen from the activations such a value is one constant weight, and what it is made of are none: a small change of A
/// is not what the layer adds. So it is computed once, and where the weight is quantized its encoding takes the place
/// of the nodes that made it. What others have quantized stays as it is, and so do products that are smaller than their
/// result.
public struct ConstantFolding: Sendable {
  public struct Weight: Sendable {
    public let name: String
    public let tensor: Tensor
    /// Nodes behind it, by place in the model's index.
    let nodes: Set<Int>
    /// Every value that those nodes read.
    public let reads: Set<String>
  }

  /// A weight operand that is computed from constants and stays so.
  public struct Left: Sendable {
    public let name: String
    public let reason: String
    /// Integers that it is computed from, where they are its codes and no operator says so.
    public let codes: Int
    /// Nodes behind it, by the name of their first output.
    public let producers: Set<String>
  }

  public let weights: [Weight]
  public let left: [Left]
  /// Of the model before it is folded.
  let index: GraphIndex

  /// Work where nobody can end it: a quarter of a second, and more for large files. Codes of this library take up to some
  /// thousand operations a byte, which stands for up to eight weights.
  public static func workLimit(byteCount: Int, hasOwnCodes: Bool = false) -> Int {
    Int.saturatingSum(1 << 28, .saturatingProduct(byteCount, hasOwnCodes ? 1 << 12 : 1 << 6))
  }

  /// - Parameters:
  ///   - encoded: names of the weights that this library encoded in the model.
  ///   - context: how long it may take. Weights beyond its work stay computed.
  public init(_ model: Model, encoded: Set<String>, _ context: ComputeContext) throws(CetError) {
    let index = GraphIndex(model.graph)
    self.index = index
    let finder = FoldFinder(model: model, index: index, encoded: encoded, context: context)
    var (weights, left): ([Weight], [Left]) = ([], [])
    var seen: Set<String> = []
    for node in index.nodes {
      for slot in node.weightSlots where index.isWeighted(node, slot) {
        for name in finder.points(of: node.inputs[slot]) where seen.insert(name).inserted {
          switch try finder.folded(name) {
          case .weight(let weight): weights.append(weight)
          case .left(let value): left.append(value)
          case .unknown: break
          }
        }
      }
    }
    self.weights = weights
    self.left = left
  }

  /// Weights that must be written out although they stay float: something that they are computed from is changed, or a node
  /// that makes them makes one that is quantized, too.
  public func disturbed(by changed: Set<String>, except quantized: Set<String>) -> [Weight] {
    weights.filter { weight in
      guard !quantized.contains(weight.name) else { return false }
      return !weight.reads.isDisjoint(with: changed)
        || weight.nodes.contains { index.nodes[$0].outputs.contains(where: quantized.contains) }
    }
  }

  /// Drops the nodes that make these weights, and what only those read.
  public func removal(of names: Set<String>) -> ModelEdit {
    var edit = ModelEdit()
    let chosen = weights.filter { names.contains($0.name) }
    var removed: Set<Int> = []
    func isUnread(_ name: String) -> Bool {
      name.isEmpty || names.contains(name) || !index.isOutput(name) && index.readers(of: name).allSatisfy(removed.contains)
    }
    for place in chosen.reduce(into: Set<Int>(), { $0.formUnion($1.nodes) }).sorted(by: >) {
      let node = index.nodes[place]
      guard node.outputs.allSatisfy(isUnread) else { continue }
      removed.insert(place)
      edit.replacedNodes[node.firstOutput] = []
    }
    for name in chosen.reduce(into: Set<String>(), { $0.formUnion($1.reads) }) where index.constants[name] != nil {
      guard !names.contains(name), isUnread(name) else { continue }
      if index.constantNodes.contains(name) { edit.replacedNodes[name] = [] } else { edit.removedInitializers.insert(name) }
    }
    return edit
  }

  /// The model with all these weights as constants.
  public func applied(to model: Model) throws(CetError) -> Model {
    guard !weights.isEmpty else { return model }
    var edit = removal(of: Set(weights.map(\.name)))
    edit.initializers = weights.map { Initializer(name: $0.name, tensor: $0.tensor) }
    return try edit.applied(to: model)
  }
}

private final class FoldFinder {
  let model: Model
  let index: GraphIndex
  let encoded: Set<String>
  let context: ComputeContext
  /// What `points` found, by name.
  private var known: [String: [String]] = [:]
  private var spent = 0

  init(model: Model, index: GraphIndex, encoded: Set<String>, context: ComputeContext) {
    self.model = model
    self.index = index
    self.encoded = encoded
    self.context = context
  }

  /// Work of a node beside what it computes.
  private static let nodeWork = 1 << 12

  /// False once there is no more.
  private func spend(_ work: Int) -> Bool {
    spent = Int.saturatingSum(spent, work)
    return spent <= context.workLimit
  }

  enum Outcome {
    case weight(ConstantFolding.Weight)
    case left(ConstantFolding.Left)
    /// The value depends on activations, or what it is made of cannot be followed.
    case unknown
  }

  /// The computed constants whose elements an operand has. One that reaches the operand through operators that move its
  /// elements, and nothing else, is taken behind them: there it has the operand's own form.
  func points(of name: String) -> [String] { points(of: name, depth: 0) }

  private func points(of name: String, depth: Int) -> [String] {
    if let found = known[name] { return found }
    let found = searchPoints(of: name, depth: depth)
    known[name] = found
    return spend(found.count << 6) ? found : []
  }

  private func searchPoints(of name: String, depth: Int) -> [String] {
    guard index.constants[name] == nil, depth < 16, let place = index.producer(of: name), !index.isFed(place) else { return [] }
    if encoded.contains(name) { return [name] }
    let node = index.nodes[place]
    guard let moved = node.movedInputs else { return [name] }
    let below = moved.map { points(of: $0, depth: depth + 1) }
    var seen: Set<String> = []
    let found = below.flatMap { $0 }.filter { seen.insert($0).inserted }
    guard !found.isEmpty, node.outputs.count == 1 else { return found }
    let isAlone = zip(moved, below).allSatisfy { value, points in
      points.isEmpty
        || points == [value] && index.readers(of: value).count == 1 && !index.isOutput(value) && !encoded.contains(value)
    }
    return isAlone ? [name] : found
  }

  func folded(_ name: String) throws(CetError) -> Outcome {
    // This library splits what it decodes as one, weights all of them; other nodes with several outputs are not followed.
    guard let place = index.producer(of: name),
      index.nodes[place].outputs.count == 1 || index.nodes[place].outputs.allSatisfy(encoded.contains),
      !index.isOutput(name), let (nodes, reads) = sources(of: place)
    else { return .unknown }
    let leaves = reads.compactMap { index.constants[$0] }
    let producers = Set(nodes.map { index.nodes[$0].firstOutput })
    func left(_ reason: String, codes: Int = 0) -> Outcome {
      .left(.init(name: name, reason: reason, codes: codes, producers: producers))
    }
    let isOwn = encoded.contains(name)
    if !isOwn, let decoder = nodes.sorted().first(where: { index.nodes[$0].isDecoder }) {
      return left("already quantized: \(index.nodes[decoder].operatorType) of constants")
    }
    if !isOwn, let codes = leaves.filter(\.type.isCode).map(\.count).max() {
      return left("already quantized: computed from integers", codes: codes)
    }
    let tensor: Tensor?
    do {
      tensor = try value(name, nodes)
    } catch {
      if error.code == .cancelled { throw error }
      if error.isTooMuchWork { return left(error.message) }
      // What cannot be computed is left to those who run the model: they say why.
      return .unknown
    }
    guard let tensor, tensor.type.isWeight, tensor.rank >= 2, tensor.count > 0 else { return .unknown }
    if !isOwn {
      // Indices of a codebook are as many as the weights, or their groups.
      let indices = leaves.filter { $0.type == .int64 || $0.type == .int32 }.map(\.count).max() ?? 0
      if indices > 16, 8 * indices >= tensor.count { return left("already quantized: computed from integers", codes: indices) }
      let held = leaves.filter(\.type.isWeight).reduce(0) { $0 + $1.count }
      guard held >= tensor.count else { return left("a product of constants that are smaller than it") }
    }
    return .weight(.init(name: name, tensor: tensor, nodes: nodes, reads: reads))
  }

  /// The nodes behind a value and what they read; nil where that cannot be followed: through branches and bodies, or to
  /// names that stand for several values.
  private func sources(of place: Int) -> (nodes: Set<Int>, reads: Set<String>)? {
    var (nodes, reads): (Set<Int>, Set<String>) = ([place], [])
    var waiting = [place]
    while let next = waiting.popLast() {
      guard index.nodes[next].subgraphs.isEmpty, spend(FoldFinder.nodeWork) else { return nil }
      for name in index.nodes[next].inputs where !name.isEmpty && reads.insert(name).inserted {
        if index.constants[name] != nil { continue }
        guard let producer = index.producer(of: name), !index.isFed(producer) else { return nil }
        if nodes.insert(producer).inserted { waiting.append(producer) }
      }
    }
    return (nodes, reads)
  }

  /// Runs the nodes in their order and in the file's own types; every value goes when its last reader has run. nil where
  /// the library does not execute one of them.
  private func value(_ name: String, _ nodes: Set<Int>) throws(CetError) -> Tensor? {
    let order = nodes.sorted()
    var lastReader: [String: Int] = [:]
    for place in order { for input in index.nodes[place].inputs { lastReader[input] = place } }
    var values: [String: Tensor] = [:]
    for place in order {
      let node = index.nodes[place]
      guard OperatorRegistry.obstacle(to: node, in: model) == nil else { return nil }
      let emitter = Emitter(program: Program(), context: context)
      try emitter.spend(spent)
      let scope = Scope(model: model, emitter: emitter)
      for input in node.inputs {
        if let tensor = values[input] ?? index.constants[input] { scope.set(input, emitter.constant(tensor)) }
      }
      let outputs = node.outputs.filter { !$0.isEmpty }
      for (output, value) in zip(outputs, try scope.lower(Graph(nodes: [node]), outputs: outputs)) {
        guard let tensor = emitter.known(value) else { return nil }
        values[output] = tensor
      }
      spent = emitter.computedWork
      for input in node.inputs where lastReader[input] == place { values[input] = nil }
    }
    return try values[name]?.rowMajor()
  }
}

extension ElementType {
  /// Integers of a byte or less: whoever computes a weight from those has quantized it.
  fileprivate var isCode: Bool { self != .bool && self != .string && bitWidth <= 8 }
}

extension Node {
  /// Whether the operator makes floats of codes.
  fileprivate var isDecoder: Bool { ["DequantizeLinear", "DequantizeBFP"].contains(operatorType) }
}
