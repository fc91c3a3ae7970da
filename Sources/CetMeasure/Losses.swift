import CetAutodiff
import CetTensor

/// Losses of samples, each by itself, or how much they change.
public struct SampleLosses: Sendable {
  /// Temperature at which quantized versions are compared with each other. Calibration samples are often ones that
  /// the model was trained on: at temperature 1 it is so certain of them that a handful decides the loss of all.
  public static let judgingTemperature = 4.0

  /// At temperature 1.
  public var plain: [Double]
  /// At the judging temperature.
  public var judged: [Double]

  public init(plain: [Double] = [], judged: [Double] = []) {
    self.plain = plain
    self.judged = judged
  }

  /// Of one batch's output.
  init(_ loss: LossKind, output: Tensor, reference: Tensor, _ batch: Batch) throws(CetError) {
    func values(_ temperature: Double) throws(CetError) -> [Double] {
      try Loss.sampleValues(
        loss, output: output, reference: reference, labels: batch.labels, samples: batch.sampleCount,
        temperature: temperature)
    }
    plain = try values(1)
    judged = try values(SampleLosses.judgingTemperature)
  }

  public static func - (a: SampleLosses, b: SampleLosses) -> SampleLosses {
    SampleLosses(plain: zip(a.plain, b.plain).map { $0 - $1 }, judged: zip(a.judged, b.judged).map { $0 - $1 })
  }

  public mutating func append(_ other: SampleLosses) {
    plain += other.plain
    judged += other.judged
  }

  public var mean: Double { mean(first: plain.count) }
  public var judgedMean: Double { judged.reduce(0, +) / Double(max(1, judged.count)) }
  /// Mean over the first samples.
  public func mean(first count: Int) -> Double { plain.prefix(count).reduce(0, +) / Double(max(1, min(count, plain.count))) }
}

extension BoundModel {
  /// The unquantized model's output of every batch.
  public func referenceOutputs(_ batches: [Batch]) throws(CetError) -> [Tensor] {
    var outputs: [Tensor] = []
    try workers.ordered(batches.count) { index in
      try run(batches[index], weights).rowMajor()
    } combine: { _, tensor in
      outputs.append(tensor)
    }
    return outputs
  }

  /// Mean loss over samples with `changed` initializers.
  public func meanLoss(
    _ batches: [Batch], references: [Tensor], changed: [String: Tensor], temperature: Double = 1
  ) throws(CetError) -> Double {
    var losses: [Double] = []
    let merged = weights.merging(changed) { $1 }
    try workers.ordered(batches.count) { index in
      try Loss.value(
        loss, output: run(batches[index], merged), reference: references[index], labels: batches[index].labels,
        temperature: temperature)
    } combine: { index, value in
      losses.append(value / Double(max(1, batches[index].sampleCount)))
    }
    let total = zip(losses, batches).reduce(0) { $0 + $1.0 * Double($1.1.sampleCount) }
    return total / Double(max(1, batches.reduce(0) { $0 + $1.sampleCount }))
  }

  /// Loss of every sample with `changed` initializers.
  public func sampleLosses(_ batches: [Batch], references: [Tensor], changed: [String: Tensor]) throws(CetError) -> SampleLosses {
    var losses = SampleLosses()
    let merged = weights.merging(changed) { $1 }
    try workers.ordered(batches.count) { index in
      try SampleLosses(loss, output: run(batches[index], merged), reference: references[index], batches[index])
    } combine: { _, part in
      losses.append(part)
    }
    return losses
  }

  private func run(_ batch: Batch, _ weights: [String: Tensor]) throws(CetError) -> Tensor {
    try programs.forward(batch, outputs: [output]).run(batch, weights: weights)[0]
  }
}
