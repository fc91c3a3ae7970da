import CetAutodiff
import CetQuantize
import CetTensor

/// Loss minus the loss of the unquantized model, for every candidate alone.
public struct SensitivityMeasurement {
  private let bound: BoundModel
  private let batches: [Batch]
  private let references: [Tensor]

  /// - Parameter references: the unquantized model's output of every batch.
  public init(_ bound: BoundModel, _ batches: [Batch], references: [Tensor]) {
    self.bound = bound
    self.batches = batches
    self.references = references
  }

  /// `candidates[i]` holds the quantized versions of layer i. Each batch runs once unquantized with all values kept; a
  /// candidate then computes only what lies behind its layer.
  /// - Parameter progress: batches done, of how many.
  public func run(
    _ candidates: [[QuantizedLayer]], progress: (Int, Int) throws(CetError) -> Void = { _, _ in }
  ) throws(CetError) -> [[SampleLosses]] {
    let replacements = try candidates.enumerated().map { index, versions throws(CetError) in
      try versions.map { version throws(CetError) in try bound.replacement(index, version) }
    }
    return try run(changes: replacements, progress: progress)
  }

  /// The same for what is fed in place of weights, or of grids: `replacements[i]` holds versions of the same kind.
  func run(
    changes replacements: [[[String: Tensor]]], progress: (Int, Int) throws(CetError) -> Void = { _, _ in }
  ) throws(CetError) -> [[SampleLosses]] {
    var losses = replacements.map { $0.map { _ in SampleLosses() } }
    try bound.workers.ordered(batches.count) { position in
      let batch = batches[position]
      let program = try bound.programs.forward(batch, outputs: [bound.output])
      let baseline = try program.baseline(batch, weights: bound.weights)
      func values(_ output: Tensor) throws(CetError) -> SampleLosses {
        try SampleLosses(bound.loss, output: output, reference: references[position], batch)
      }
      let own = try values(baseline.outputs[0])
      return try replacements.map { versions in
        try versions.map { try values(program.rerun(baseline, changed: $0)[0]) - own }
      }
    } combine: { position, part in
      for layer in losses.indices {
        for version in losses[layer].indices { losses[layer][version].append(part[layer][version]) }
      }
      try progress(position + 1, batches.count)
    }
    return losses
  }
}

extension BoundModel {
  /// How many of `batches` to use when `runs` reruns are made on each: as many as keep the elements computed, about
  /// half of a whole run each, below `limit`. Never fewer than `least` samples where there are so many.
  public func affordable(_ batches: [Batch], runs: Int, limit: Double, least: Int) throws(CetError) -> Int {
    var work = 0.0
    var samples = 0
    for (position, batch) in batches.enumerated() {
      work += Double(try programs.forward(batch, outputs: [output]).elementCount) / 2 * Double(runs)
      if work > limit, samples >= least { return max(1, position) }
      samples += batch.sampleCount
    }
    return batches.count
  }
}
