import CetAllocate
import CetAutodiff
import CetMeasure
import CetSpectral
import CetTensor

/// Algorithm 1 of arXiv 2502.15802 with its repairs (`PaperMethod`): the error that eigenpairs of the curvature leave to
/// each tensor becomes its bits.
enum StiffAxesMethod: AllocationMethod {
  static let table = TableUse.oneTarget

  static func measure(_ session: Session, _ draft: PlanDraft, _ monitor: Monitor) throws(CetError) -> LossTable {
    guard draft.units.allSatisfy({ $0.count == 1 }) else {
      throw CetError(.invalidArgument, "option group: method 'paper' gives every tensor bits by itself")
    }
    let (bound, options, slots) = (session.bound, draft.options, session.slots)
    let dimension = slots.last.map { $0.offset + $0.count } ?? 0
    if let asked = options.eigenpairs, asked > dimension {
      throw CetError(.invalidArgument, "option eigenpairs: \(asked) of a parameter vector of \(dimension)")
    }
    let limit = options.maxIterations ?? 100
    var settings = EigensolveSettings(
      count: min(options.eigenpairs ?? 20, dimension), tolerance: 1e-2, maximumApplies: limit, seed: options.seed)
    settings.maximumMemory = memoryLimit(options.maxMemory)
    // What the pairs need is refused before the curvature is made.
    _ = try EigensolveSizes(dimension: dimension, settings)
    let map = try session.curvature(options)
    let pairs = try CetSpectral.eigensolve(map, settings, workers: bound.workers) { applies, _ throws(CetError) in
      try monitor.report(.eigensolve, applies, of: limit)
    }
    monitor.log(
      .info, "\(pairs.convergedCount) of \(pairs.count) eigenpairs converged to 1 % in \(pairs.applies) Hessian-vector products")
    var weights: [Float] = []
    for layer in bound.layers { weights += try bound.weightValues(layer) }
    var chosen = PaperMethod.Options()
    chosen.seed = options.seed
    var table = LossTable(count: slots.count)
    table.codings = try session.codings(draft, monitor)
    let draft = draft.knowing(table.codings)
    table.chosen = try draft.underTarget { budget, cost throws(CetError) in
      let tensors = draft.planned.map { index in
        PaperMethod.Tensor(
          name: slots[index].name, range: slots[index].offset..<(slots[index].offset + slots[index].count),
          options: draft.widths[index].map { .init(bits: $0, cost: cost(index, $0)) })
      }
      let result = try PaperMethod.allocate(
        pairs: pairs, weights: weights, tensors: tensors, budget: budget, options: chosen)
      return BitChoice(bits: slots.map { result.bits[$0.name] })
    }
    return table
  }

  static func reason(_ draft: PlanDraft, _ index: Int, bits: Int?) -> String {
    "size of the error that the stiff axes leave to this tensor"
  }
}
