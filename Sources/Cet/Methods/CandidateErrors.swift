import CetAutodiff
import CetLayers
import CetMeasure
import CetQuantize
import CetSpectral
import CetTensor

/// The quantized versions of every layer and their errors Q(W) − W.
struct CandidateErrors {
  let bound: BoundModel
  /// Allowed bits by layer index.
  let widths: [[Int]]
  /// One version a width, by layer index.
  let quantized: [Int: [QuantizedLayer]]

  /// One version a width, of all layers; none of those that are kept.
  var versions: [[QuantizedLayer]] { widths.indices.map { quantized[$0] ?? [] } }

  /// What their codes stand for, by bits.
  var codings: [[Int: Coding]] {
    versions.map { Dictionary($0.map { ($0.tensor.bits, $0.tensor.coding) }, uniquingKeysWith: { first, _ in first }) }
  }

  /// Q(W) − W in C order.
  func error(_ index: Int, _ version: Int) throws(CetError) -> [Float] {
    guard let layer = quantized[index]?[version] else { return [] }
    return zip(layer.tensor.dequantized(), try bound.weightValues(bound.layers[index])).map { $0 - $1 }
  }

  /// A value for every layer and width.
  func table<Failure>(_ value: (_ layer: Int, _ version: Int) throws(Failure) -> Double) throws(Failure) -> [[Int: Double]] {
    try widths.indices.map { index throws(Failure) in
      var row: [Int: Double] = [:]
      for (version, bits) in widths[index].enumerated() where quantized[index] != nil {
        row[bits] = try value(index, version)
      }
      return row
    }
  }
}

extension Session {
  /// Every layer of a draft quantized at each of its widths, by itself, and the batches that this did not see.
  func candidateErrors(_ draft: PlanDraft, _ monitor: Monitor) throws(CetError) -> (errors: CandidateErrors, heldOut: [Int]) {
    let options = draft.options
    let (fitting, heldOut) = try split()
    let quantized = try candidates(
      draft.plannedWidths, fitting: self.fitting(options.rounding, fitting), rounding: options.rounding,
      rules: draft.rules, maxMemory: options.maxMemory, effort: RoundingEffort(.comparison, options.effort), monitor: monitor)
    return (CandidateErrors(bound: bound, widths: draft.widths, quantized: quantized), heldOut)
  }

  /// All layers as one parameter vector.
  var slots: [ParameterSlot] { bound.layers.parameters }

  /// The curvature of the loss in that vector.
  func curvature(_ options: PlanOptions) throws(CetError) -> CurvatureOperator {
    try CurvatureOperator(
      model: bound.model, output: bound.output, parameters: slots, batches: batches, loss: loss,
      curvature: options.curvature, workers: bound.workers, context: bound.context,
      memoryLimit: memoryLimit(options.maxMemory))
  }
}

extension CurvatureOperator: LinearMap {}
