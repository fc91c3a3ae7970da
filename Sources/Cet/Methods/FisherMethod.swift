import CetAutodiff
import CetMeasure
import CetTensor

/// MCKP: ½ mean over samples of (gᵀδ)², g the gradient of one sample's loss against a label drawn from the model's own
/// prediction (for `mse`: an output with unit noise), so that no labels are needed.
enum FisherMethod: KnapsackMethod {
  static func measure(_ session: Session, _ draft: PlanDraft, _ monitor: Monitor) throws(CetError) -> LossTable {
    let errors = try session.candidateErrors(draft, monitor).errors
    let loss = session.loss
    let outputs = try session.references()
    var random = Random(seed: draft.options.seed)
    var single: [Batch] = []
    var targets: [Tensor] = []
    let fixed = SampleAxes.fixedBatchSize(of: session.model.requiredInputs)
    for (batch, output) in zip(session.batches, outputs) {
      let step = fixed ?? 1
      for start in stride(from: 0, to: batch.sampleCount, by: step) {
        let range = start..<(start + step)
        let part = try output.rows(range)
        let labels = loss == .kl || loss == .crossEntropy ? try DrawnTargets.labels(part, &random) : nil
        single.append(try batch.samples(range, labels: labels))
        if loss == .mse {
          targets.append(try DrawnTargets.outputs(part, &random))
        }
      }
    }
    let bound = session.bound
    let map = try CurvatureOperator(
      model: bound.model, output: bound.output, parameters: session.slots, batches: single,
      loss: loss == .kl ? .crossEntropy : loss, curvature: .gaussNewton, references: loss == .mse ? targets : nil,
      workers: bound.workers, context: bound.context, memoryLimit: nil)
    let deltas = try errors.widths.indices.map { index throws(CetError) in
      try errors.widths[index].indices.map { version throws(CetError) in try errors.error(index, version) }
    }
    var dots = deltas.map { $0.map { _ in [Double]() } }
    try map.batchGradients { batch, gradients in
      for (index, versions) in deltas.enumerated() {
        guard let gradient = gradients[index] else { continue }
        for (version, delta) in versions.enumerated() where !delta.isEmpty {
          dots[index][version].append(
            delta.withUnsafeBufferPointer { d in
              d.baseAddress.map { Reduction.dot($0, gradient.floats, count: delta.count) } ?? 0
            })
        }
      }
      try monitor.report(.curvature, batch + 1, of: single.count)
    }
    var table = LossTable(count: bound.layers.count)
    table.codings = errors.codings
    table.curvature = errors.table { self.loss(gradientDots: dots[$0][$1]) }
    return table
  }

  /// Empirical Fisher quadratic ½ δᵀFδ with F = mean over samples of g gᵀ: ½ mean (gᵀδ)², from each sample's gᵀδ.
  static func loss(gradientDots: [Double]) -> Double {
    gradientDots.isEmpty ? 0 : 0.5 * gradientDots.reduce(0) { $0 + $1 * $1 } / Double(gradientDots.count)
  }
}
