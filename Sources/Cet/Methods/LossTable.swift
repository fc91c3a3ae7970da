import CetEncode
import CetLayers
import CetQuantize
import CetTensor

/// Losses by layer and bits.
struct LossTable {
  /// Loss change with only this layer quantized, at temperature 1: what second order is compared with.
  var measured: [[Int: Double]]
  /// Loss change with only this layer quantized, at the temperature at which candidates are compared and over moved copies
  /// too; the choice of bits rests on it.
  var judged: [[Int: Double]]
  /// Loss change with only this layer quantized, from a model of the loss: curvature or gradients.
  var curvature: [[Int: Double]]
  /// What the codes behind these losses stand for, by bits; empty where nothing was tried.
  var codings: [[Int: Coding]]
  /// See `TrustRadius`.
  var trustRadius: [Double?]
  /// Held-out samples behind `measured` and `judged`, and moved copies of them behind `judged` alone.
  var samples = 0
  var copies = 0
  /// Samples behind `curvature` where it stands beside `measured`.
  var secondOrderSamples = 0
  /// Bits of a method that chooses by more than losses of single layers, for the target that it was asked for.
  var chosen: BitChoice?

  /// Activations with their ranges, where they are asked for; their bits are not chosen yet.
  var activations: [PlannedActivation] = []

  init(count: Int) {
    measured = [[Int: Double]](repeating: [:], count: count)
    judged = measured
    curvature = measured
    codings = [[Int: Coding]](repeating: [:], count: count)
    trustRadius = [Double?](repeating: nil, count: count)
  }

  /// The table that a plan of the same model was made from.
  /// - Parameter draft: what is to be chosen; a width that the table lacks is an error.
  init(_ plan: CompressionPlan, _ draft: PlanDraft) throws(CetError) {
    self.init(count: draft.layers.count)
    let measured = Dictionary(plan.tensors.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    for (index, layer) in draft.layers.enumerated() {
      guard let known = measured[layer.name] else { continue }
      self.measured[index] = known.measuredLoss
      curvature[index] = known.curvatureLoss
      judged[index] = known.sensitivity
      trustRadius[index] = known.trustRadius
      codings[index] = known.codings.mapValues { Coding($0, trellis: draft.model.trellisCode) }
      let trellis = draft.widths[index].first { known.codings[$0] == .trellis }
      if let obstacle = draft.options.encoding.trellisObstacle, let trellis {
        throw CetError(
          .invalidArgument,
          "the plan's losses of '\(layer.name)' at \(trellis) bits are of trellis codes; \(obstacle): plan from calibration data")
      }
      for bits in draft.widths[index] where plan.options.method.rules.table != .none && known.sensitivity[bits] == nil {
        throw CetError(.invalidArgument, "the plan has no loss of '\(layer.name)' at \(bits) bits: it was made without that choice")
      }
    }
    if let found = draft.activations { activations = try found.known(plan, draft.options) }
  }

  func choice() throws(CetError) -> BitChoice {
    guard let chosen else { throw CetError(.internal, "the method has chosen no bits") }
    return chosen
  }
}

/// The largest error of a tensor up to which second order holds (Eq. 7).
struct TrustRadius {
  private var entries: [(norm: Double, agrees: Bool)] = []

  /// Prediction and measurement agree within 10⁻³ or 10 % of the measured loss.
  mutating func add(norm: Double, predicted: Double, measured: Double) {
    entries.append((norm, abs(predicted - measured) <= max(1e-3, 0.1 * abs(measured))))
  }

  /// ‖δ‖₂ of the largest error that agrees, with all smaller ones; nil when the smallest does not.
  var radius: Double? {
    let sorted = entries.sorted { $0.norm < $1.norm }
    return sorted.prefix { $0.agrees }.last?.norm
  }
}
