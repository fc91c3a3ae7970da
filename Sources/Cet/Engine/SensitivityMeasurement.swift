import CetAutodiff
import CetQuantize
import CetTensor

extension Engine {
  /// The replaced initializers of a quantized layer.
  func replacement(_ index: Int, _ quantized: QuantizedLayer) throws -> [String: Tensor] {
    let layer = layers[index]
    let values = try Tensor(quantized.tensor.dequantized(), shape: layer.shape)
    var changed = [layer.name: try stored(values, as: layer.elementType)]
    if let name = biasNames[index], let bias = quantized.bias, let old = weights[name] {
      changed[name] = try stored(Tensor(bias, shape: old.shape), as: layer.biasType)
    }
    return changed
  }

  /// The values that are left of float32 ones in the file's type.
  private func stored(_ tensor: Tensor, as type: ElementType) throws -> Tensor {
    guard type != .float32 else { return tensor }
    return try Conversion.convert(Conversion.convert(tensor, to: type, context), to: .float32, context)
  }

  /// Loss minus the loss of the unquantized model, for every candidate alone: `candidates[i]` holds the quantized
  /// versions of layer i. Each batch runs once unquantized with all values kept; a candidate then computes only what
  /// lies behind its layer.
  func measureAlone(
    _ candidates: [[QuantizedLayer]], batches: [Batch], references: [Tensor], progress: @escaping (Int, Int) throws -> Void
  ) throws -> [[MeasuredLoss]] {
    let replacements = try candidates.enumerated().map { index, versions in
      try versions.map { try replacement(index, $0) }
    }
    var losses = candidates.map { $0.map { _ in MeasuredLoss() } }
    try workers.ordered(batches.count) { position in
      let batch = batches[position]
      let program = try self.programs.forward(batch, outputs: [self.output])
      let baseline = try program.baseline(batch, weights: self.weights)
      func values(_ output: Tensor, _ temperature: Double) throws -> [Double] {
        try Loss.sampleValues(
          self.loss, output: output, reference: references[position], labels: batch.labels, samples: batch.sampleCount,
          temperature: temperature)
      }
      let own = try values(baseline.outputs[0], 1)
      let judged = try values(baseline.outputs[0], Engine.judgingTemperature)
      return try replacements.map { versions in
        try versions.map { version in
          let output = try program.rerun(baseline, changed: version)[0]
          return MeasuredLoss(
            bySample: zip(try values(output, 1), own).map { $0 - $1 },
            judgedBySample: zip(try values(output, Engine.judgingTemperature), judged).map { $0 - $1 })
        }
      }
    } combine: { position, part in
      for layer in losses.indices {
        for version in losses[layer].indices { losses[layer][version].append(part[layer][version]) }
      }
      try progress(position + 1, batches.count)
    }
    return losses
  }

  /// How many of `batches` to use when `runs` reruns are made on each: as many as keep the elements computed, about
  /// half of a whole run each, below `limit`. Never fewer than `least` samples where there are so many.
  func affordable(_ batches: [Batch], runs: Int, limit: Double, least: Int) throws -> Int {
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

/// Loss changes of one candidate.
struct MeasuredLoss: Sendable {
  /// One a sample, at temperature 1.
  var bySample: [Double] = []
  /// The same at the temperature that candidates are compared at.
  var judgedBySample: [Double] = []

  mutating func append(_ other: MeasuredLoss) {
    bySample += other.bySample
    judgedBySample += other.judgedBySample
  }

  /// Mean over samples.
  var mean: Double { bySample.reduce(0, +) / Double(max(1, bySample.count)) }
  var judgedMean: Double { judgedBySample.reduce(0, +) / Double(max(1, judgedBySample.count)) }
  /// Mean over the first samples.
  func mean(first count: Int) -> Double { bySample.prefix(count).reduce(0, +) / Double(max(1, min(count, bySample.count))) }
}
