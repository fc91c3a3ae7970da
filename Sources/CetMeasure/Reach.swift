import CetAutodiff
import CetGraph
import CetOperators
import CetTensor

extension BoundModel {
  /// Layers that a batch's output depends on. Others stand in branches that the batch does not take, or lead to
  /// outputs that the loss does not read: no calibration data can say anything about them.
  public func reached(_ batch: Batch) throws(CetError) -> Set<Int> {
    try reach.value(batch.signature) { () throws(CetError) in
      let bound = try BatchProgram(model, batch: batch, parameters: layers.map(\.name), context)
      let z = try bound.values([output])[0]
      let isRead = bound.program.ancestors(of: [z])
      return Set(layers.indices.filter { index in bound.parameters[layers[index].name].map { isRead[$0.id] } ?? false })
    }
  }

  /// Layers that at least one of the batches reaches.
  public func reached(_ batches: [Batch]) throws(CetError) -> Set<Int> {
    var found: Set<Int> = []
    for batch in batches { found.formUnion(try reached(batch)) }
    return found
  }

  /// Layers, of these, that have input statistics in the batches.
  public func observable(_ indices: [Int], _ batches: [FittingBatch]) throws(CetError) -> [Int] {
    let seen = try reached(batches.map(\.batch))
    return indices.filter { seen.contains($0) && layers[$0].usesStatistics }
  }
}
