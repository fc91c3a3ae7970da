import CetAllocate
import CetAutodiff
import CetQuantize
import CetSpectral
import CetTensor

/// The quantized versions of every layer and their errors Q(W) − W.
struct CandidateErrors {
  let engine: Engine
  /// Allowed bits by layer index.
  let widths: [[Int]]
  /// One version a width, by layer index.
  let quantized: [Int: [QuantizedLayer]]

  /// Q(W) − W in C order.
  func error(_ index: Int, _ version: Int) throws -> [Float] {
    guard let layer = quantized[index]?[version] else { return [] }
    return zip(layer.tensor.dequantized(), try engine.weightValues(engine.layers[index])).map { $0 - $1 }
  }

  /// A value for every layer and width.
  func table(_ value: (_ layer: Int, _ version: Int) throws -> Double) rethrows -> [[Int: Double]] {
    try widths.indices.map { index in
      var row: [Int: Double] = [:]
      for (version, bits) in widths[index].enumerated() where quantized[index] != nil {
        row[bits] = try value(index, version)
      }
      return row
    }
  }
}

extension Session {
  /// All layers as one parameter vector.
  private var slots: [ParameterSlot] { engine.layers.parameters }

  private func curvature(_ options: PlanOptions) throws -> CurvatureOperator {
    try CurvatureOperator(
      model: engine.model, output: engine.output, parameters: slots, batches: batches, loss: loss,
      curvature: options.curvature, workers: engine.workers, context: engine.context,
      memoryLimit: CetTensor.memoryLimit(options.maxMemory))
  }

  /// HAWQ-V2: mean Hessian trace of the tensor times the squared quantization error.
  func hawqTable(_ errors: CandidateErrors, _ options: PlanOptions, _ monitor: Monitor) throws -> [[Int: Double]] {
    let map = try curvature(options)
    let vectors = options.maxIterations ?? 32
    let traces = try estimateTrace(
      map, samples: vectors, ranges: slots.map { $0.offset..<($0.offset + $0.count) }, seed: options.seed
    ) { try monitor.report(.curvature, $0, of: vectors) }
    return try errors.table { index, version in
      let squared = try errors.error(index, version).reduce(0.0) { $0 + Double($1) * Double($1) }
      return Baselines.hawqV2(
        trace: max(0, traces.ranges[index].trace), weights: engine.layers[index].count, squaredError: squared)
    }
  }

  /// MCKP: ½ mean over samples of (gᵀδ)², g the gradient of one sample's loss against a label drawn from the
  /// model's own prediction (for `mse`: an output with unit noise), so that no labels are needed.
  func fisherTable(_ errors: CandidateErrors, _ options: PlanOptions, _ monitor: Monitor) throws -> [[Int: Double]] {
    let outputs = try references()
    var random = Random(seed: options.seed)
    var single: [Batch] = []
    var targets: [Tensor] = []
    let fixed = SampleAxes.fixedBatchSize(of: model.requiredInputs)
    for (batch, output) in zip(batches, outputs) {
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
    let map = try CurvatureOperator(
      model: engine.model, output: engine.output, parameters: slots, batches: single,
      loss: loss == .kl ? .crossEntropy : loss, curvature: .gaussNewton, references: loss == .mse ? targets : nil,
      workers: engine.workers, context: engine.context, memoryLimit: nil)
    let deltas = try errors.widths.indices.map { index in
      try errors.widths[index].indices.map { try errors.error(index, $0) }
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
    return errors.table { Baselines.fisher(gradientDots: dots[$0][$1]) }
  }

  /// Algorithm 1 of the paper with its repairs (`PaperMethod`): bits by layer index.
  func paperBits(_ draft: PlanDraft, _ options: PlanOptions, _ monitor: Monitor) throws -> [Int: Int] {
    let dimension = slots.last.map { $0.offset + $0.count } ?? 0
    if let asked = options.eigenpairs, asked > dimension {
      throw CetError(.invalidArgument, "option eigenpairs: \(asked) of a parameter vector of \(dimension)")
    }
    let limit = options.maxIterations ?? 100
    var settings = CetSpectral.EigensolveOptions(
      count: min(options.eigenpairs ?? 20, dimension), tolerance: 1e-2, maximumApplies: limit, seed: options.seed)
    settings.maximumMemory = CetTensor.memoryLimit(options.maxMemory)
    // What the pairs need is refused before the curvature is made.
    _ = try EigensolveSizes(dimension: dimension, settings)
    let map = try curvature(options)
    let pairs = try CetSpectral.eigensolve(map, settings, workers: engine.workers) { applies, _ in
      try monitor.report(.eigensolve, applies, of: limit)
    }
    monitor.log(
      .info, "\(pairs.convergedCount) of \(pairs.count) eigenpairs converged to 1 % in \(pairs.applies) Hessian-vector products")
    let weights = try engine.layers.flatMap { try engine.weightValues($0) }
    let places = slots
    var chosen = PaperMethod.Options()
    chosen.seed = options.seed
    return try draft.underTarget { budget, cost in
      let tensors = draft.planned.map { index in
        PaperMethod.Tensor(
          name: engine.layers[index].name, range: places[index].offset..<(places[index].offset + places[index].count),
          options: draft.widths[index].map { .init(bits: $0, cost: cost(index, $0)) })
      }
      let result = try PaperMethod.allocate(
        pairs: pairs, weights: weights, tensors: tensors, budget: budget, options: chosen)
      return Dictionary(
        draft.planned.compactMap { index in result.bits[engine.layers[index].name].map { (index, $0) } },
        uniquingKeysWith: { first, _ in first })
    }
  }
}

extension CurvatureOperator: LinearMap {}
