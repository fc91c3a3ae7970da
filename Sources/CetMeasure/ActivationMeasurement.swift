import CetAutodiff
import CetLayers
import CetQuantize
import CetTensor

/// What activations of the unquantized network are like, and what is lost when one of them is rounded.
public struct ActivationMeasurement {
  private let bound: BoundModel
  private var activations: [Activation] { bound.activations.all }

  /// - Parameter bound: with the activations that are measured.
  public init(_ bound: BoundModel) { self.bound = bound }

  /// Bytes that `histograms` holds at most beside what a run of the model does.
  public static func byteCount(activations: Int, threads: Int) -> Int {
    let (bytes, overflow) = (activations * ValueHistogram.byteCount).multipliedReportingOverflow(by: threads + 1)
    return overflow ? .max : bytes
  }

  /// How often every activation has values of which size.
  /// - Parameter progress: batches done, of how many.
  public func histograms(
    _ batches: [Batch], progress: (Int, Int) throws(CetError) -> Void = { _, _ in }
  ) throws(CetError) -> [ValueHistogram] {
    let names = activations.map(\.name)
    var sums = names.map { _ in ValueHistogram() }
    try bound.workers.ordered(batches.count) { position in
      let batch = batches[position]
      let route = try bound.programs.route(batch, stops: names, outputs: [bound.output])
      let cursor = ForwardCursor(route, batch, weights: bound.weights, bound.context)
      return try names.map { name in
        var histogram = ValueHistogram()
        let tensor = try cursor.value(name)
        guard tensor.type == .float32 else { return histogram }
        try bound.context.pieces(tensor.count) { piece in
          histogram.add(UnsafeBufferPointer(start: UnsafePointer(tensor.floats) + piece.lowerBound, count: piece.count))
        }
        return withExtendedLifetime(tensor) { histogram }
      }
    } combine: { position, part in
      for index in sums.indices { sums[index].merge(part[index]) }
      try progress(position + 1, batches.count)
    }
    return sums
  }

  /// Loss minus the loss of the unquantized model with one activation rounded alone: `grids[i]` are those that activation i is
  /// tried with.
  /// - Parameters:
  ///   - references: the unquantized model's output of every batch.
  ///   - progress: batches done, of how many.
  public func losses(
    _ grids: [[ActivationGrid]], _ batches: [Batch], references: [Tensor],
    progress: (Int, Int) throws(CetError) -> Void = { _, _ in }
  ) throws(CetError) -> [[SampleLosses]] {
    let changes = try zip(activations, grids).map { activation, grids throws(CetError) in
      try grids.map { grid throws(CetError) in [activation.name: try grid.tensor()] }
    }
    return try SensitivityMeasurement(bound, batches, references: references).run(changes: changes, progress: progress)
  }
}
