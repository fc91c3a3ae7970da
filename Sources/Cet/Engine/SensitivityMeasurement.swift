import CetAutodiff
import CetQuantize
import CetTensor

/// A layer's weights and bias after quantization.
struct QuantizedLayer: Sendable {
  let tensor: QuantizedTensor
  /// Corrected for the mean of the output error; nil when the layer has no place for it.
  let bias: [Float]?
}

extension Engine {
  /// The replaced initializers of a quantized layer.
  func replacement(_ index: Int, _ quantized: QuantizedLayer) throws -> [String: Tensor] {
    let layer = layers[index]
    var changed = [layer.name: try Tensor(quantized.tensor.dequantized(), shape: layer.shape)]
    if let name = biasNames[index], let bias = quantized.bias, let old = weights[name] {
      changed[name] = try Tensor(bias, shape: old.shape)
    }
    return changed
  }

  /// Mean loss minus the loss of the unquantized model, for every candidate alone: `candidates[i]` holds the
  /// quantized versions of layer i. Each batch runs once unquantized with all values kept; a candidate then
  /// computes only what lies behind its layer.
  func measureAlone(
    _ candidates: [[QuantizedLayer]], batches: [Batch], references: [Tensor], progress: @escaping (Int, Int) throws -> Void
  ) throws -> [[Double]] {
    let replacements = try candidates.enumerated().map { index, versions in
      try versions.map { try replacement(index, $0) }
    }
    var sums = candidates.map { $0.map { _ in 0.0 } }
    try workers.ordered(batches.count) { position in
      let batch = batches[position]
      let program = try self.programs.forward(batch, outputs: [self.output])
      let baseline = try program.baseline(batch, weights: self.weights)
      func loss(_ output: Tensor) throws -> Double {
        try Loss.value(self.loss, output: output, reference: references[position], labels: batch.labels)
      }
      let own = try loss(baseline.outputs[0])
      return try replacements.map { versions in
        try versions.map { try loss(program.rerun(baseline, changed: $0)[0]) - own }
      }
    } combine: { position, part in
      for layer in sums.indices {
        for version in sums[layer].indices { sums[layer][version] += part[layer][version] }
      }
      try progress(position + 1, batches.count)
    }
    let samples = Double(max(1, batches.reduce(0) { $0 + $1.sampleCount }))
    return sums.map { $0.map { $0 / samples } }
  }
}
