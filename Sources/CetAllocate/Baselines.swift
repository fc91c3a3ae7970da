import CetTensor

/// Losses of published allocation methods, for the same knapsack, and the plan without an allocation. With the
/// same quantizer and budget a comparison shows the plan alone.
public enum Baselines {
  /// HAWQ-V2 (arXiv 1911.03852, Eq. 9): mean trace · ‖Q(W) − W‖², the mean being over the tensor's weights.
  public static func hawqV2(trace: Double, weights: Int, squaredError: Double) -> Double {
    max(trace, 0) / Double(max(weights, 1)) * squaredError
  }

  /// Empirical Fisher quadratic ½ δᵀFδ with F = mean over samples of g gᵀ: ½ mean (gᵀδ)², from each sample's gᵀδ.
  public static func fisher(gradientDots: [Double]) -> Double {
    gradientDots.isEmpty ? 0 : 0.5 * gradientDots.reduce(0) { $0 + $1 * $1 } / Double(gradientDots.count)
  }

  /// The same with the diagonal of F: ½ Σ F_kk δ_k².
  public static func fisher(diagonal: [Float], error: [Float]) throws -> Double {
    guard diagonal.count == error.count else {
      throw CetError(.shapeMismatch, "a Fisher diagonal of \(diagonal.count) values got an error of \(error.count)")
    }
    return 0.5 * zip(diagonal, error).reduce(0) { $0 + Double($1.0) * Double($1.1) * Double($1.1) }
  }

  /// One width for all tensors: the largest that every tensor has and whose total is within the budget.
  public static func uniform(
    _ table: SensitivityTable, budget: Int, size: SensitivityTable.Size = .storedBytes
  ) throws -> [String: Int] {
    let cost = { (entry: SensitivityTable.Entry) in size == .storedBytes ? entry.storedBytes : entry.codeBits }
    let common = (table.rows.first?.entries.map(\.bits) ?? []).filter { bits in
      table.rows.allSatisfy { $0.entry(bits: bits) != nil }
    }
    guard !table.rows.isEmpty else { return [:] }
    var totals: [(bits: Int, cost: Int)] = []
    for bits in common {
      totals.append((bits, table.rows.reduce(0) { $0 + ($1.entry(bits: bits).map(cost) ?? 0) }))
    }
    guard let best = totals.last(where: { $0.cost <= budget }) else {
      throw CetError(
        .infeasibleBudget,
        "the budget is \(budget), one width for all tensors takes at least \(totals.first.map { String($0.cost) } ?? "more than any")")
    }
    return Dictionary(uniqueKeysWithValues: table.rows.map { ($0.tensor, best.bits) })
  }
}

extension SensitivityTable {
  /// The same tensors, widths and sizes with the losses of another model in `predicted`, nothing measured.
  public func withLosses(_ loss: (_ tensor: String, _ bits: Int) throws -> Double) throws -> SensitivityTable {
    try SensitivityTable(
      rows.map { row in
        try Row(
          tensor: row.tensor,
          entries: row.entries.map {
            Entry(
              bits: $0.bits, predicted: try loss(row.tensor, $0.bits), storedBytes: $0.storedBytes, codeBits: $0.codeBits)
          })
      })
  }
}
