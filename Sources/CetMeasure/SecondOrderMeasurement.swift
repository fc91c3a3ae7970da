import CetAutodiff
import CetQuantize
import CetTensor

/// Exact directional derivatives of the output along every candidate's error (Q(W) − W, Δb), turned into u with
/// δᵀHδ = Σ u² and δ_iᵀHδ_j = Σ u_i u_j over a batch. H is the Gauss–Newton matrix JᵀH_ℓJ: for `kl` and `mse` against the
/// unchanged model the exact Hessian, and g = 0.
public struct SecondOrderMeasurement {
  private let bound: BoundModel
  private let batches: [Batch]

  public init(_ bound: BoundModel, _ batches: [Batch]) {
    self.bound = bound
    self.batches = batches
  }

  /// `candidates[i]` holds the quantized versions of layer i. Returns false when there is no such loss or derivative.
  /// - Parameters:
  ///   - progress: batches done, of how many.
  ///   - each: gets, batch by batch in order, one gradient term gᵀδ and one u a candidate (layer by layer, version by version).
  public func run(
    _ candidates: [[QuantizedLayer]], progress: (Int, Int) throws(CetError) -> Void = { _, _ in },
    each: (_ batch: Int, _ gradient: [Double], _ u: [[Float]]) throws(CetError) -> Void
  ) throws(CetError) -> Bool {
    let indices = candidates.indices.filter { !candidates[$0].isEmpty }
    // What a layer's quantization moves: the weights and, where it absorbs the mean, the bias.
    let groups = indices.map { [bound.layers[$0].name] + [bound.biasNames[$0]].compactMap { $0 } }
    let deltas = try indices.map { index throws(CetError) in
      try candidates[index].map { version throws(CetError) in
        var directions: [String: Tensor] = [:]
        for (name, tensor) in try bound.replacement(index, version) {
          guard let old = bound.weights[name] else { continue }
          let difference = zip(try tensor.array(as: Float.self), try old.array(as: Float.self)).map { $0 - $1 }
          directions[name] = try Tensor(difference, shape: old.shape)
        }
        return directions
      }
    }
    return try run(groups: groups, directions: deltas, progress: progress, each: each)
  }

  /// The same of what is fed: `directions[i]` holds the ways in which group i, of weights or of probes, is moved.
  func run(
    groups: [[String]], probes: [String: [GridProbe]] = [:], directions: [[[String: Tensor]]],
    progress: (Int, Int) throws(CetError) -> Void = { _, _ in },
    each: (_ batch: Int, _ gradient: [Double], _ u: [[Float]]) throws(CetError) -> Void
  ) throws(CetError) -> Bool {
    guard bound.loss != .output, !batches.isEmpty, let programs = try programs(groups, probes) else { return false }
    let still = try Tensor(scalar: Float(0))
    let fed = bound.weights.merging(probes.values.joined().map { ($0.name, still) }) { $1 }
    try bound.workers.ordered(batches.count) { position in
      let batch = batches[position]
      guard let program = programs[batch.signature] else { throw CetError(.internal, "a batch has no program") }
      let baseline = try program.baseline(batch, weights: fed)
      let form = try LossForm(bound.loss, output: baseline.output.rowMajor(), labels: batch.labels)
      var gradient: [Double] = []
      var u: [[Float]] = []
      for (group, versions) in directions.enumerated() {
        for version in versions {
          let moved = try program.derivative(baseline, group: group, directions: version)?.array(as: Float.self)
          gradient.append(moved.map(form.slope) ?? 0)
          u.append(moved.map(form.root) ?? [])
        }
      }
      return (gradient, u)
    } combine: { position, part in
      try each(position, part.0, part.1)
      try progress(position + 1, batches.count)
    }
    return true
  }

  /// By batch shape; nil when an operator has no derivative.
  private func programs(
    _ groups: [[String]], _ probes: [String: [GridProbe]]
  ) throws(CetError) -> [Batch.Signature: DirectionalProgram]? {
    var programs: [Batch.Signature: DirectionalProgram] = [:]
    for batch in batches where programs[batch.signature] == nil {
      do {
        programs[batch.signature] = try DirectionalProgram(
          bound.model, batch: batch, groups: groups, probes: probes, output: bound.output, bound.context)
      } catch {
        guard error.code == .unsupportedOperator else { throw error }
        return nil
      }
    }
    return programs
  }
}

/// First and second derivative of a loss in the output, at an unchanged model's output.
private struct LossForm {
  private let probabilities: [Float]
  private let classes: Int
  /// Index of the right class by row, for `cross-entropy`.
  private let labels: [Int64]

  init(_ kind: LossKind, output: Tensor, labels: Tensor?) throws(CetError) {
    guard output.type == .float32 else { throw CetError(.unsupportedOperator, "the loss needs a float32 output, got \(output.type)") }
    let classes = output.shape.last ?? 1
    self.classes = classes
    self.labels = kind == .crossEntropy ? try labels?.array(as: Int64.self) ?? [] : []
    guard kind != .mse else {
      probabilities = []
      return
    }
    let rows = output.count / max(1, classes)
    var p = [Float](repeating: 0, count: output.count)
    p.withUnsafeMutableBufferPointer { p in
      if let base = p.baseAddress { Reduction.softmaxRows(output.floats, into: base, rows: rows, columns: classes) }
    }
    probabilities = p
  }

  /// Σ over rows of (p − y)ᵀż; zero for losses against the model's own output.
  func slope(_ moved: [Float]) -> Double {
    var sum = 0.0
    for (row, label) in labels.enumerated() where (row + 1) * classes <= moved.count {
      for i in 0..<classes { sum += Double(probabilities[row * classes + i]) * Double(moved[row * classes + i]) }
      if label >= 0, label < classes { sum -= Double(moved[row * classes + Int(label)]) }
    }
    return sum
  }

  /// u with uᵀu = żᵀ H ż: ż itself for ½‖·‖², √p (ż − pᵀż) for softmax losses, whose H is diag p − p pᵀ.
  func root(_ moved: [Float]) -> [Float] {
    guard !probabilities.isEmpty else { return moved }
    var u = moved
    for row in 0..<(moved.count / max(1, classes)) {
      let range = (row * classes)..<((row + 1) * classes)
      var mean = 0.0
      for i in range { mean += Double(probabilities[i]) * Double(moved[i]) }
      for i in range { u[i] = probabilities[i].squareRoot() * Float(Double(moved[i]) - mean) }
    }
    return u
  }
}
