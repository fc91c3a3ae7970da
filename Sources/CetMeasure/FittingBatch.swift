import CetAutodiff
import CetLayers
import CetQuantize
import CetTensor

/// A batch that statistics are taken from, and which rows of the layers' inputs count in it.
public struct FittingBatch: Sendable {
  public let batch: Batch
  /// By layer index the rows (all axes but the last, flattened) that can change the model's output, ascending;
  /// layers that are missing use all of theirs.
  public let rows: [Int: [Int]]

  /// - Parameter rows: of layers that use all of theirs nothing.
  public init(batch: Batch, rows: [Int: [Int]]) {
    self.batch = batch
    self.rows = rows
  }

  public var sampleCount: Int { batch.sampleCount }

  /// How sparsely patches of a layer's input are taken when `samples` samples are seen in all.
  func patchStep(_ index: Int, _ layer: LinearLayer, _ input: Tensor, samples: Int) throws(CetError) -> Int {
    let rows = try (rows[index]?.count).or(Patches.count(layer, layer.node, input: input))
    return patchStep(rows: rows, columns: layer.columns, samples: samples)
  }

  /// How sparsely patches are taken of `rows` rows of this batch, when `samples` samples are seen in all.
  func patchStep(rows: Int, columns: Int, samples: Int) -> Int {
    let patches = Double(rows) / Double(max(1, sampleCount)) * Double(samples)
    return SamplePolicy.patchStep(patches: Int(min(patches, 1e15)), columns: columns)
  }

  /// Runs of batches whose moments are gathered in one place. Merging moments costs as much as some hundred patches, so
  /// that wide layers have few runs; their number must not depend on that of the threads.
  static func parts(_ batches: Int, columns: Int) -> [Range<Int>] {
    let count = min(batches, columns > 1024 ? 8 : 32)
    return (0..<count).map { ($0 * batches / count)..<(($0 + 1) * batches / count) }
  }
}
