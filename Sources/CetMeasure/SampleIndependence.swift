import CetAutodiff
import CetGraph
import CetTensor

/// Whether the loss of a sample depends on what else is in its batch, or on how many samples that are: means over
/// samples would then depend on the batch size. Found by running one batch, the same batch with copies of one sample in
/// all places, and that sample alone.
public enum SampleIndependence {
  case independent
  /// Only in batches of as many samples as were looked at.
  case inThisSize(node: String)
  /// At a node (the first of which a sample's part of the result is another); each sample by itself has a loss.
  case alone(node: String)
  /// At a node (the first of which a sample's part of the result is another), and a sample by itself has no loss: its output,
  /// of this shape, is not one entry; nil where the model does not take one sample.
  case never(node: String, output: [Int]?)

  /// - Parameters:
  ///   - batch: of two samples or more.
  ///   - isFixed: whether the model takes batches of this size only.
  public init(_ bound: BoundModel, _ batch: Batch, isFixed: Bool) throws(CetError) {
    self = .independent
    // One between others: what every sample takes from the first or the last alone is seen.
    for sample in batch.sampleCount >= 3 ? [batch.sampleCount / 2] : Array(0..<batch.sampleCount) {
      let runs = try SampleRuns(bound, batch, sample: sample, names: [bound.output], isFixed: isFixed)
      guard runs.isComparable, !runs.isIndependent(0) else { continue }
      if bound.loss == .output, !isFixed, try runs.isAdditive(bound, batch) { continue }
      let node = try SampleIndependence.culprit(bound, batch, sample: sample, isFixed: isFixed)
      let shape = runs.alone?[0].shape
      if let shape, shape.first ?? 1 == 1 {
        self = .alone(node: node)
      } else if isFixed || runs.hasOwnEntry(0) {
        self = .inThisSize(node: node)
      } else {
        self = .never(node: node, output: shape)
      }
      return
    }
  }

  /// The first node that mixes samples, by its name and operator.
  private static func culprit(_ bound: BoundModel, _ batch: Batch, sample: Int, isFixed: Bool) throws(CetError) -> String {
    let graph = bound.model.graph
    var needed: Set<String> = [bound.output]
    var nodes: [Node] = []
    for node in graph.nodes.reversed() where node.outputs.contains(where: needed.contains) {
      nodes.append(node)
      needed.formUnion(node.inputs)
      needed.formUnion(node.innerReads)
    }
    nodes.reverse()
    func text(_ node: Node) -> String { "node '\(node.displayName)' (\(node.operatorType))" }
    let values = nodes.flatMap { node in node.outputs.filter { !$0.isEmpty && needed.contains($0) }.map { (node, $0) } }
    if let runs = try? SampleRuns(bound, batch, sample: sample, names: values.map(\.1), isFixed: isFixed),
      let index = values.indices.first(where: { runs.changes($0) && !runs.isIndependent($0) })
    {
      return text(values[index].0)
    }
    return nodes.last.map(text) ?? "output '\(bound.output)'"
  }
}

/// Values of one batch, of it with one sample in all places, and of that sample alone.
private struct SampleRuns {
  let sample: Int
  let count: Int
  let together: [Tensor]
  let copies: [Tensor]
  /// nil where the model does not take one sample.
  let alone: [Tensor]?

  /// Between batches of one size, which run through the same kernels: without influence the bits are the same.
  private static let companyTolerance = 1e-6
  /// Between a batch and one sample: other shapes take other kernels, whose rounding a model that rounds its activations can
  /// amplify to some 10⁻³; what depends on a sample's place or on the batch's size does so as a whole.
  private static let aloneTolerance = 1e-2
  /// Of sums over samples: round-off in single precision.
  private static let sumTolerance = 1e-4

  init(_ bound: BoundModel, _ batch: Batch, sample: Int, names: [String], isFixed: Bool) throws(CetError) {
    func run(_ batch: Batch) throws(CetError) -> [Tensor] {
      try bound.programs.forward(batch, outputs: names).run(batch, weights: bound.weights)
        .map { x throws(CetError) in try x.rowMajor() }
    }
    self.sample = sample
    count = batch.sampleCount
    together = try run(batch)
    copies = try run(batch.filled(with: sample))
    alone = isFixed ? nil : try? run(batch.alone(sample))
  }

  /// Whether the values are floats and finite: others have no loss, which is said elsewhere.
  var isComparable: Bool {
    together.allSatisfy { $0.type == .float32 && Reduction.isFinite($0.floats, count: $0.count) }
  }

  /// Whether a value depends on the samples at all; sizes of shapes do not.
  func changes(_ index: Int) -> Bool {
    let (x, y) = (together[index], copies[index])
    guard x.type == .float32, x.shape == y.shape else { return false }
    return (0..<x.count).contains { x.floats[$0] != y.floats[$0] }
  }

  /// Whether the sample has entries of its own in the value, which are the same in other company and alone.
  func isIndependent(_ index: Int) -> Bool {
    let shape = together[index].shape
    guard shape == copies[index].shape else { return false }
    return SampleLayout.all(shape, samples: count, alone: alone?[index].shape).contains { layout in
      let own = layout.entries(of: together[index], sample: sample, of: count)
      guard isSame(index, layout) else { return false }
      return alone.map { layout.entries(of: $0[index], sample: 0, of: 1).relativeDistance(to: own) <= SampleRuns.aloneTolerance }
        ?? true
    }
  }

  /// Whether the sample has one entry on axis 0 of the value, which is the same in other company.
  func hasOwnEntry(_ index: Int) -> Bool {
    together[index].shape.first == count && together[index].shape == copies[index].shape
      && isSame(index, SampleLayout(axis: 0, run: 1))
  }

  private func isSame(_ index: Int, _ layout: SampleLayout) -> Bool {
    layout.entries(of: copies[index], sample: sample, of: count)
      .relativeDistance(to: layout.entries(of: together[index], sample: sample, of: count)) <= SampleRuns.companyTolerance
  }

  /// Whether the sum over an output, which is the loss, is that over two samples together and alone.
  func isAdditive(_ bound: BoundModel, _ batch: Batch) throws(CetError) -> Bool {
    func total(_ range: Range<Int>) throws(CetError) -> Double {
      let part = try batch.samples(range, labels: batch.labels?.rows(range))
      let output = try bound.programs.forward(part, outputs: [bound.output]).run(part, weights: bound.weights)[0]
      return try Loss.value(.output, output: output, reference: nil, labels: nil)
    }
    guard alone != nil else { return false }
    let first = min(sample, count - 2)
    let (a, b) = (try total(first..<first + 1), try total(first + 1..<first + 2))
    return abs(try total(first..<first + 2) - a - b) <= SampleRuns.sumTolerance * (abs(a) + abs(b))
  }
}
