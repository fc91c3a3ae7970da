import CetAllocate
import CetMeasure
import CetTensor

/// CLADO (arXiv 2307.05657): losses of all pairs of tensors δ_iᵀHδ_j, H the Gauss–Newton matrix (for `kl` and `mse` the
/// exact Hessian). One directional derivative of the output per layer and width gives all of them. The diagonal is the
/// curvature side of the table.
enum PairwiseMethod: AllocationMethod {
  static let table = TableUse.oneTarget

  /// More values than this would be held for the pair losses of one batch.
  private static let mostPairValues = 1 << 28

  static func measure(_ session: Session, _ draft: PlanDraft, _ monitor: Monitor) throws(CetError) -> LossTable {
    let (errors, heldOut) = try session.candidateErrors(draft, monitor)
    let matrix = try pairLosses(session, errors, heldOut, monitor)
    let draft = draft.knowing(errors.codings)
    let count = errors.versions.reduce(0) { $0 + $1.count }
    var table = LossTable(count: session.bound.layers.count)
    table.codings = errors.codings
    var entry = 0
    for index in draft.planned {
      for bits in draft.widths[index] {
        table.curvature[index][bits] = 0.5 * matrix[entry * count + entry]
        entry += 1
      }
    }
    table.chosen = try draft.underTarget { budget, cost throws(CetError) in
      let costs = draft.units.map { unit in draft.widths[unit[0]].map { bits in unit.reduce(0) { $0 + cost($1, bits) } } }
      let picks = try PairwiseAllocation(costs: costs, matrix: joined(matrix, draft)).solve(budget: budget)
      var bits: [Int: Int] = [:]
      for (unit, pick) in zip(draft.units, picks) { for index in unit { bits[index] = draft.widths[index][pick] } }
      return BitChoice(bits, layers: draft.layers.count)
    }
    return table
  }

  /// G over the widths of units: what layers that get the same bits lose together is the sum over their pairs.
  private static func joined(_ matrix: [Double], _ draft: PlanDraft) -> [Double] {
    guard draft.units.contains(where: { $0.count > 1 }) else { return matrix }
    var entries: [Int: Range<Int>] = [:]
    var count = 0
    for index in draft.planned {
      entries[index] = count..<(count + draft.widths[index].count)
      count += draft.widths[index].count
    }
    let rows = draft.units.flatMap { unit in
      draft.widths[unit[0]].indices.map { version in unit.compactMap { entries[$0].map { $0.lowerBound + version } } }
    }
    return rows.flatMap { a in
      rows.map { b in a.reduce(0) { sum, row in b.reduce(sum) { $0 + matrix[row * count + $1] } } }
    }
  }

  /// G over all versions of all layers, row-major.
  private static func pairLosses(
    _ session: Session, _ errors: CandidateErrors, _ heldOut: [Int], _ monitor: Monitor
  ) throws(CetError) -> [Double] {
    let versions = errors.versions
    let count = versions.reduce(0) { $0 + $1.count }
    var matrix = [Double](repeating: 0, count: count * count)
    var slopes = [Double](repeating: 0, count: count)
    let used = heldOut.map { session.batches[$0] }
    let known = try SecondOrderMeasurement(session.bound, used).run(
      versions, progress: { done, total throws(CetError) in try monitor.report(.curvature, done, of: total) }
    ) { _, gradient, u throws(CetError) in
      let width = u.map(\.count).max() ?? 0
      guard width <= mostPairValues / max(1, count) else {
        throw CetError(.outOfMemory, "method 'clado' would hold \(width) outputs for each of \(count) choices: use a smaller batch_size")
      }
      for a in 0..<count {
        slopes[a] += gradient[a]
        for b in 0...a where !u[a].isEmpty && !u[b].isEmpty {
          matrix[a * count + b] += u[a].withUnsafeBufferPointer { x in
            u[b].withUnsafeBufferPointer { y in
              guard let x = x.baseAddress, let y = y.baseAddress else { return 0 }
              return Reduction.dot(x, y, count: width)
            }
          }
        }
      }
    }
    guard known else {
      throw CetError(.unsupportedOperator, "method 'clado' needs derivatives of every operator and a loss other than 'output'")
    }
    let samples = Double(max(1, used.reduce(0) { $0 + $1.sampleCount }))
    for a in 0..<count {
      for b in 0...a {
        matrix[a * count + b] /= samples
        matrix[b * count + a] = matrix[a * count + b]
      }
      // ½ G_aa holds gᵀδ as well: a term of one choice alone belongs to its diagonal.
      matrix[a * count + a] += 2 * slopes[a] / samples
    }
    return matrix
  }

  static func reason(_ draft: PlanDraft, _ index: Int, bits: Int?) -> String {
    "least loss of all pairs of tensors that moves of one or two of them reach"
  }
}
