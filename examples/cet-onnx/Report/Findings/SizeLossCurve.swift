import CCet

/// One plan of the same table: what it takes and what it is predicted to lose.
struct CurvePoint {
  var label: String
  var fileBytes: UInt64
  var meanBits: Double
  var loss: Double
  var interval: Interval

  /// nil where the plan's loss or size is not known.
  fileprivate init?(_ plan: Plan, label: String) throws {
    let totals = try plan.totals()
    self.init(totals, label: label)
  }

  init?(_ totals: PlanTotals, label: String) {
    guard totals.predictedLossChange > 0, totals.fileBytes > 0 else { return nil }
    self.label = label
    fileBytes = totals.fileBytes
    meanBits = totals.meanBits
    loss = totals.predictedLossChange
    interval = totals.predictedInterval
  }
}

/// Plans of every budget from the table that a plan carries, no data needed: the Pareto front, and beside it the plans with the
/// same bits everywhere.
struct SizeLossCurve {
  var front: [CurvePoint] = []
  var uniform: [CurvePoint] = []

  private static let budgets = 64
  /// Large models take longer: what is not there by then is left out of the curve, which has its ends and middle first.
  private static let seconds = 5.0

  init(_ model: Model, _ plan: Plan) throws {
    let tensors = try plan.tensors().filter(\.isPlanned)
    let widths = (1...8).filter { bits in tensors.contains { $0.sensitivity[bits].isFinite } }
    guard let least = widths.first, let most = widths.last else { return }
    let began = monotonicSeconds()
    var found: [UInt64: CurvePoint] = [:]
    for share in SizeLossCurve.shares where monotonicSeconds() - began < SizeLossCurve.seconds {
      try Interrupt.check()
      let bits = Double(least) + (Double(most) - Double(least)) * share
      guard let made = try? Plan.make(model, from: plan, options(bits: bits)), let point = try CurvePoint(made, label: "") else {
        continue
      }
      if point.loss < found[point.fileBytes]?.loss ?? .infinity { found[point.fileBytes] = point }
    }
    for point in found.values.sorted(by: { $0.fileBytes < $1.fileBytes }) where point.loss < front.last?.loss ?? .infinity {
      front.append(point)
    }
    for bits in widths where monotonicSeconds() - began < 2 * SizeLossCurve.seconds {
      guard let made = try uniformPlan(model, plan, bits) else { continue }
      if let point = try CurvePoint(made, label: bits == 1 ? "1 bit everywhere" : "\(bits) bits everywhere") {
        uniform.append(point)
      }
    }
  }

  /// From 0 to 1: the ends, then halves of what lies between, so that any first part of them covers the whole.
  private static var shares: [Double] {
    var shares = [1.0, 0.0]
    var step = 1.0
    while shares.count <= budgets {
      shares += stride(from: step / 2, to: 1, by: step).map { $0 }
      step /= 2
    }
    return shares
  }

  private func options(bits: Double) throws -> cet_plan_options {
    var options: cet_plan_options = try initialized(cet_plan_options_init)
    options.target_bits = bits
    return options
  }

  /// nil where the table lacks a width.
  private func uniformPlan(_ model: Model, _ plan: Plan, _ bits: Int) throws -> Plan? {
    var options = try options(bits: 8)
    return withCStrings(["*"]) { patterns in
      [Int32(bits)].withUnsafeBufferPointer { fixed in
        options.fix_patterns = patterns.baseAddress
        options.fix_bits = fixed.baseAddress
        options.fix_count = 1
        return try? Plan.make(model, from: plan, options)
      }
    }
  }
}
