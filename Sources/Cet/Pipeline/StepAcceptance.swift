import CetAutodiff
import CetMeasure
import CetQuantize
import CetTensor

extension Session {
  /// Elements computed to compare a layer's steps, beyond which fewer held-out samples are used.
  private static let comparisonWork = 1e10
  /// A layer takes fewer steps only where that is clear: by so many standard errors, and by a tenth of the loss. Of hundreds of
  /// layers some would seem better without by chance.
  private static let clearErrors = 2.0
  private static let clearShare = 0.9

  /// Layers that lose less on held-out samples with fewer steps, each quantized alone: an added bias moves outputs that were
  /// exactly zero, which a normalisation behind can blow up; a fit to samples need not be one to others.
  /// - Parameter fitted: every layer with all steps, fitted to each fold.
  func acceptedSteps(
    _ rounding: PlanRounding, _ folds: [PlanRounding.Fold], fitted: [[Int: QuantizedLayer]]
  ) throws(CetError) -> [Int: LayerSteps] {
    let nearest = try PlanRounding.Work(rounding, [Int: LayerSteps]()).parallel(.nearest, [])
    let better = try compared(folds) { number in
      bound.layers.indices.map { index in
        guard bound.layers[index].usesStatistics, let layer = fitted[number][index], let plain = nearest[index]
        else { return [] }
        let withoutBias = layer.bias.map { _ in (LayerSteps.withoutBias, QuantizedLayer(tensor: layer.tensor, bias: nil)) }
        return [(.all, layer)] + [withoutBias].compactMap { $0 } + [(.nearest, plain)]
      }
    }
    // Where the mean has no bias to go to, the codes are fitted to uncentred inputs: only so do they show what they can do.
    let biasFree = better.filter { $1 != .all }.mapValues { _ in LayerSteps.withoutBias }
    guard !biasFree.isEmpty else { return [:] }
    let work = try PlanRounding.Work(rounding, biasFree)
    let bits = rounding.bits.filter { biasFree[$0.key] != nil }
    return try compared(folds, unlessClear: false) { number throws(CetError) in
      let refitted = try work.parallel(.gptq, folds[number].fit, bits)
      return bound.layers.indices.map { index in
        guard let layer = refitted[index], let plain = nearest[index] else { return [] }
        return [(.withoutBias, layer), (.nearest, plain)]
      }
    }
  }

  /// For every layer the version that held-out samples lose least with.
  /// - Parameter unlessClear: the first one is taken unless another is clearly better.
  private func compared(
    _ folds: [PlanRounding.Fold], unlessClear: Bool = true,
    _ versions: (_ fold: Int) throws(CetError) -> [[(steps: LayerSteps, layer: QuantizedLayer)]]
  ) throws(CetError) -> [Int: LayerSteps] {
    var steps: [[LayerSteps]] = []
    var losses: [[SampleLosses]] = []
    for (number, fold) in folds.enumerated() {
      let candidates = try versions(number)
      let runs = candidates.reduce(0) { $0 + $1.count }
      let samples = fold.held.map { $0[0] }
      let used = try bound.affordable(samples, runs: runs, limit: Session.comparisonWork, least: SamplePolicy.fewestForSteps)
      var references: [Tensor] = []
      var first = 0
      for group in fold.held.prefix(used) {
        references.append(fold.references[first])
        first += group.count
      }
      let found = try SensitivityMeasurement(bound, Array(samples.prefix(used)), references: references)
        .run(candidates.map { $0.map(\.layer) })
      guard !losses.isEmpty else {
        (steps, losses) = (candidates.map { $0.map(\.steps) }, found)
        continue
      }
      for layer in losses.indices {
        for version in losses[layer].indices { losses[layer][version].append(found[layer][version]) }
      }
    }
    var result: [Int: LayerSteps] = [:]
    for (layer, values) in losses.enumerated() {
      guard let all = values.first else { continue }
      var best = 0
      for (version, loss) in values.enumerated() where version > 0 {
        let isClear =
          !unlessClear || loss.judgedMean < Session.clearShare * all.judgedMean
          && Statistic.isBelow(loss.judged, all.judged, errors: Session.clearErrors)
        if isClear, loss.judgedMean < values[best].judgedMean { best = version }
      }
      result[layer] = steps[layer][best]
    }
    return result
  }
}
