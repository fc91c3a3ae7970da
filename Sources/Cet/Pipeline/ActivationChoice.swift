import CetAllocate
import CetQuantize
import CetTensor

extension [PlannedActivation] {
  /// Bits for every activation out of those that are allowed.
  /// - Parameter weightLoss: the sum of the table's losses of the weights, nil where there is none.
  func chosen(_ options: ActivationOptions, weightLoss: Double?) throws(CetError) -> [PlannedActivation] {
    guard !isEmpty else { return self }
    if options.bits.count == 1 { return map { $0.with(options.bits[0], "the only bits allowed") } }
    // More bits never count as worse: what looks like it is noise.
    let losses = map { activation in
      var least = 0.0
      return Array<Double>(
        options.bits.reversed().map { bits in
          least = Swift.max(least, activation.choices[bits]?.sensitivity ?? 0)
          return least
        }.reversed())
    }
    let items = indices.map { index in
      options.bits.enumerated().map { Knapsack.Option(cost: self[index].elements * $1, loss: losses[index][$0]) }
    }
    if let mean = options.meanBits {
      let elements = reduce(0.0) { $0 + Double($1.elements) }
      guard mean >= Double(options.bits[0]) else {
        throw CetError(
          .infeasibleBudget, "option activation_mean_bits", expected: "at least \(options.bits[0]), the fewest bits allowed", got: "\(mean)")
      }
      let solution = try Knapsack.solve(items, budget: Int(saturating: (mean * elements).rounded(.down)))
      return with(solution.choice, options.bits, "loses least at a mean of \(mean) bits")
    }
    let most = losses.reduce(0) { $0 + ($1.last ?? 0) }
    guard let limit = options.maximumLoss ?? weightLoss else {
      throw CetError(
        .invalidArgument, "option activations: several bits need activation_loss or activation_mean_bits, because the method measures no losses")
    }
    guard options.maximumLoss == nil || most <= limit * (1 + 1e-9) else {
      throw CetError(
        .infeasibleBudget, "activation_loss \(limit) cannot be reached: the most bits allowed lose \(most)"
      ).with(.expected, "at least \(most)").with(.got, "\(limit)")
    }
    let solution = try Knapsack.solve(items, maximumLoss: Swift.max(limit, most * (1 + 1e-9)))
    return with(solution.choice, options.bits, "fewest bits of all activations whose losses sum to \(limit)")
  }

  private func with(_ choice: [Int], _ bits: [Int], _ reason: String) -> [PlannedActivation] {
    zip(self, choice).map { $0.with(bits[$1], reason) }
  }
}

extension PlannedActivation {
  fileprivate func with(_ bits: Int, _ reason: String) -> PlannedActivation {
    var result = self
    result.bits = bits
    result.reason = reason
    return result
  }
}
