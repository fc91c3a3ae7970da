import CetSpectral
import CetTensor

/// HAWQ-V2 (arXiv 1911.03852): the mean Hessian trace of a tensor times its squared quantization error.
enum HessianTraceMethod: KnapsackMethod {
  static func measure(_ session: Session, _ draft: PlanDraft, _ monitor: Monitor) throws(CetError) -> LossTable {
    let errors = try session.candidateErrors(draft, monitor).errors
    let map = try session.curvature(draft.options)
    let slots = session.slots
    let vectors = draft.options.maxIterations ?? 32
    let traces = try estimateTrace(
      map, samples: vectors, ranges: slots.map { $0.offset..<($0.offset + $0.count) }, seed: draft.options.seed
    ) { done throws(CetError) in try monitor.report(.curvature, done, of: vectors) }
    var table = LossTable(count: slots.count)
    table.codings = errors.codings
    table.curvature = try errors.table { index, version throws(CetError) in
      let squared = try errors.error(index, version).reduce(0.0) { $0 + Double($1) * Double($1) }
      return loss(trace: traces.ranges[index].trace, weights: slots[index].count, squaredError: squared)
    }
    return table
  }

  /// Eq. 9: mean trace · ‖Q(W) − W‖², the mean being over the tensor's weights.
  static func loss(trace: Double, weights: Int, squaredError: Double) -> Double {
    max(trace, 0) / Double(max(weights, 1)) * squaredError
  }
}
