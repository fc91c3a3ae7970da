import CCet

/// A part of a run that the library reports by these phases.
struct Stage {
  var phases: Set<cet_phase>
  /// The share of the run's time that such a part usually takes, in parts of any sum.
  var weight: Double
  /// Passes of the same phase that may come, of which the library does not know how many.
  var passes = 1.0

  /// One call of cet_plan: every layer at each of its widths, their losses, then the chosen plan as a whole.
  static let planning = [
    Stage(phases: [cet_phase(CET_PHASE_PREPARE), cet_phase(CET_PHASE_STATISTICS)], weight: 4),
    Stage(phases: [cet_phase(CET_PHASE_ROUNDING)], weight: 45),
    Stage(phases: [cet_phase(CET_PHASE_SENSITIVITY)], weight: 8),
    Stage(phases: [cet_phase(CET_PHASE_CURVATURE), cet_phase(CET_PHASE_EIGENSOLVE)], weight: 4),
    Stage(phases: [cet_phase(CET_PHASE_ALLOCATE)], weight: 25, passes: 6),
  ]
  static let quantizing = [
    Stage(phases: [cet_phase(CET_PHASE_PREPARE), cet_phase(CET_PHASE_STATISTICS)], weight: 1),
    Stage(phases: [cet_phase(CET_PHASE_ROUNDING)], weight: 22),
    Stage(phases: [cet_phase(CET_PHASE_MEASURE)], weight: 1),
  ]

  /// Eigenpairs of the curvature: some products with it for each.
  static func spectrum(pairs: Double) -> [Stage] {
    [Stage(phases: [cet_phase(CET_PHASE_CURVATURE), cet_phase(CET_PHASE_EIGENSOLVE)], weight: 40 + 4 * pairs)]
  }
}

/// How far a run of several calls of the library is, and how long it still takes.
///
/// Stages have the weights of a usual run until they are over; what they took then says how long one unit of weight takes, and
/// so what is left. The share that is done never falls. A time is said only when it can be defended: after some seconds of at least a fifth
/// of the work, when what the whole takes has hardly changed for a while.
struct RunProgress {
  private let calls: [[Stage]]
  private var call = -1
  private var stage = 0
  private let started: Double
  /// Of the stages that are over.
  private var doneWeight = 0.0
  /// Of the stage that runs.
  private var inside = 0.0
  private var firstTotal = 0.0
  /// What the whole was thought to take, and since when about that.
  private var steady: (total: Double, since: Double)?
  private(set) var share = 0.0
  private(set) var rest: Double?

  private static let leastSeconds = 2.0
  private static let leastShare = 0.2
  private static let steadySeconds = 1.0
  private static let steadyBand = 0.25

  init(_ calls: [[Stage]], now: Double) {
    self.calls = calls.map { $0.isEmpty ? [Stage(phases: [], weight: 1)] : $0 }
    started = now
  }

  private var totalWeight: Double { calls.reduce(0) { $0 + $1.reduce(0) { $0 + $1.weight } } }

  /// The next call of the library begins.
  mutating func nextCall() {
    guard call + 1 < calls.count else { return }
    if call >= 0 { for _ in stage..<calls[call].count { endStage() } }
    call += 1
    stage = 0
  }

  private mutating func endStage() {
    doneWeight += calls[call][stage].weight
    (inside, firstTotal) = (0, 0)
    stage += 1
  }

  mutating func update(_ phase: cet_phase, _ done: UInt64, _ total: UInt64, now: Double) {
    guard call >= 0, stage < calls[call].count else { return }
    let stages = calls[call]
    // Phases come in their order; one that a method leaves out is over when a later one begins.
    if !stages[stage].phases.contains(phase), let next = stages.indices.first(where: { $0 > stage && stages[$0].phases.contains(phase) }) {
      for _ in stage..<next { endStage() }
    }
    let current = stages[stage]
    let isOwn = current.phases.isEmpty || current.phases.contains(phase)
    if total > 0, isOwn && current.passes == 1 || !isOwn && current.passes > 1 && phase == cet_phase(CET_PHASE_ROUNDING) {
      if firstTotal == 0 { firstTotal = Double(total) }
      let whole = max(current.passes * firstTotal, Double(total))
      inside = max(inside, min(1, Double(done) / whole))
    }
    estimate(now)
  }

  private mutating func estimate(_ now: Double) {
    let weight = doneWeight + inside * calls[call][stage].weight
    guard weight > 0 else { return }
    let elapsed = now - started
    share = max(share, min(0.999, weight / totalWeight))
    let total = elapsed * totalWeight / weight
    if let known = steady, abs(total - known.total) <= RunProgress.steadyBand * known.total {
      // The same as before, as far as anybody could tell.
    } else {
      steady = (total, now)
    }
    let isDefensible = elapsed >= RunProgress.leastSeconds && weight >= RunProgress.leastShare * totalWeight
      && now - (steady?.since ?? now) >= RunProgress.steadySeconds
    rest = isDefensible ? max(0, total - elapsed) : nil
  }
}
