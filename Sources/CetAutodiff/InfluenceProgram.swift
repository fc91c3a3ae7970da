import CetGraph
import CetOperators
import CetTensor

/// Which rows of values of a graph can change its output at all: Σ |gradient| of every row for a random direction
/// of the output. What a mask cuts off (padded tokens, tokens that pooling leaves out) has exactly zero.
public final class InfluenceProgram: Sendable {
  private let sources: NamedSources
  private let context: ComputeContext
  private let seed: Value
  /// Positions in `values` of the outputs.
  private let slots: [Int]
  private let count: Int
  private let staged: StagedProgram

  /// - Parameters:
  ///   - values: names of graph values that are asked about; those of rank 2 and less are one row a sample anyway
  ///     and are left out.
  ///   - output: name of the graph value whose change counts.
  public init(_ model: Model, batch: Batch, values: [String], output: String, _ context: ComputeContext) throws(CetError) {
    let bound = try BatchProgram(model, batch: batch, parameters: [], context)
    let e = bound.emitter
    // Lowered in graph order by one call.
    let lowered = try bound.values(values + [output])
    let z = lowered[values.count]
    let asked = values.indices.filter { lowered[$0].rank >= 3 && lowered[$0].element == .float32 }
    guard z.element == .float32 || asked.isEmpty else {
      throw CetError(.unsupportedOperator, "output '\(output)' is \(z.element), expected float32")
    }
    seed = e.source(.input("direction of the output"), z.type)
    let gradients = asked.isEmpty ? [] : try Differentiate.cotangents(of: asked.map { lowered[$0] }, seeds: [z: seed], e)
    let found = zip(asked, gradients).compactMap { slot, gradient in gradient.map { (slot, $0) } }
    slots = found.map(\.0)
    // Absolute values: squares of small gradients would vanish in single precision.
    let sums = try found.map { _, gradient throws(CetError) in
      try e.sum(e.unary(.absolute, gradient), axes: [gradient.rank - 1])
    }
    staged = StagedProgram(bound.program, outputs: sums)
    sources = bound.sources
    count = values.count
    self.context = context
  }

  /// Σ |gradient| over the last axis, in the order of `values`: one number a row. nil where nothing was asked or
  /// the output does not depend on the value.
  public func rowSums(_ batch: Batch, seed number: UInt64) throws(CetError) -> [[Float]?] {
    var result = [[Float]?](repeating: nil, count: count)
    guard !slots.isEmpty else { return result }
    var random = Random(seed: number)
    var feeds = sources.feeds(batch, [:])
    feeds[seed.id] = try Tensor((0..<seed.count).map { _ in Float(random.normal()) }, shape: seed.shape)
    for (slot, tensor) in zip(slots, try staged.run(feeds, context)) { result[slot] = try tensor.array(as: Float.self) }
    return result
  }
}
