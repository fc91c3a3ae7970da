import CetAutodiff
import CetQuantize
import CetTensor

/// Targets drawn from the model's own prediction: what makes gradients a sample of the Fisher information.
enum DrawnTargets {
  /// Class indices, one per row of logits, shape of the logits without the last axis.
  static func labels(_ logits: Tensor, _ random: inout Random) throws -> Tensor {
    let classes = logits.shape.last ?? 1
    let rows = logits.count / max(classes, 1)
    let probabilities = try Tensor(uninitialized: .float32, logits.shape)
    Reduction.softmaxRows(logits.floats, into: probabilities.floats, rows: rows, columns: classes)
    let labels: [Int64] = (0..<rows).map { row in
      var rest = random.uniform()
      for i in 0..<classes {
        rest -= Double(probabilities.floats[row * classes + i])
        if rest < 0 { return Int64(i) }
      }
      return Int64(classes - 1)
    }
    return try Tensor(labels, shape: Array(logits.shape.dropLast()))
  }

  /// The output with unit normal noise: with half the squared distance as the loss, −log of a unit normal.
  static func outputs(_ output: Tensor, _ random: inout Random) throws -> Tensor {
    try Tensor((0..<output.count).map { output.floats[$0] + Float(random.normal()) }, shape: output.shape)
  }
}

extension Engine {
  /// Step 3's G for every layer that it can use: E[g gᵀ] over samples and positions, rows × rows, g the gradient
  /// with respect to the layer's output of −log p(ỹ), ỹ drawn from the model's own prediction. One backward
  /// pass. nil for grouped layers and where the loss does not depend on the output.
  func outputCurvatures(_ batches: [Batch], references: [Tensor], seed: UInt64) throws -> [[Double]?] {
    let indices = layers.indices.filter { Engine.usesStatistics(layers[$0]) && WeightView.groups(layers[$0]) == 1 }
    let names = indices.map { layers[$0].output }
    let kind: LossKind = loss == .mse || loss == .output ? .mse : .crossEntropy
    let drawn: [(batch: Batch, reference: Tensor?)] = try batches.enumerated().map { index, batch in
      var random = Random(seed: seed &+ UInt64(index) &* 0x9E37_79B9)
      guard kind == .crossEntropy else { return (batch, try DrawnTargets.outputs(references[index], &random)) }
      let labels = try DrawnTargets.labels(references[index], &random)
      return (Batch(inputs: batch.inputs, labels: labels, sampleCount: batch.sampleCount), nil)
    }
    var programs: [Batch.Signature: OutputGradients] = [:]
    for (batch, _) in drawn where programs[batch.signature] == nil {
      programs[batch.signature] = try OutputGradients(
        model, batch: batch, values: names, output: output, loss: kind, parameters: Array(weights.keys), context)
    }
    var moments = try indices.map { try SecondMoment(dimension: layers[$0].channels) }
    var seen = [Bool](repeating: false, count: indices.count)
    try workers.ordered(drawn.count) { [self] position in
      let (batch, reference) = drawn[position]
      let gradients = try programs[batch.signature]?.run(batch, weights: weights, reference: reference, context) ?? []
      return try zip(indices, gradients).map { index, gradient -> SecondMoment? in
        guard let gradient else { return nil }
        var part = try SecondMoment(dimension: layers[index].channels)
        let isSpatial = if case .convolution = layers[index].kind { true } else { false }
        let rows = try isSpatial ? gradient.channelsLast(arena: context.arena) : gradient.rowMajor(arena: context.arena)
        try part.add(rows.floats, rows: rows.count / max(1, layers[index].channels))
        return part
      }
    } combine: { _, parts in
      for (slot, part) in parts.enumerated() {
        guard let part else { continue }
        try moments[slot].merge(part)
        seen[slot] = true
      }
    }
    var result = [[Double]?](repeating: nil, count: layers.count)
    for (slot, index) in indices.enumerated() where seen[slot] {
      result[index] = try moments[slot].covariance(centred: false)
    }
    return result
  }
}
