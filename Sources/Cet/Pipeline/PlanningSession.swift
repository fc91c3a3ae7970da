import CetAutodiff
import CetFormats
import CetMeasure
import CetQuantize
import CetTensor
import Glibc

/// A model with calibration samples whose statistics and losses are taken once. Plans for any budget follow from the table of losses,
/// and codes for them are fitted by what was found out when the table was made. May be used by several threads at a time: the
/// first that needs the table makes it, the others wait.
public final class PlanningSession: @unchecked Sendable {
  public let model: LoadedModel
  private let options: PlanOptions
  /// Bits a weight of the judged plan where no target was named for it.
  private let usualBits: Double?
  private let lock = Lock()
  /// Held by the thread that makes the table or the statistics.
  private let turn = Lock()
  private var data: Calibration
  private var known: Known?
  /// The losses of single tensors, as long as no plan is judged.
  private var table: Known?
  /// Where the session keeps its file.
  private var path: String?
  private var measured: Session?

  /// What the session has found out, in the form in which it can be saved.
  struct Known {
    /// With the table of losses.
    let plan: CompressionPlan
    /// Fitted to the model, those alone that are used.
    let samples: Calibration
    let fingerprint: String

    init(_ plan: CompressionPlan, _ samples: Calibration) {
      self.plan = plan
      self.samples = samples
      fingerprint = Fingerprint.text(of: samples)
    }
  }

  /// - Parameters:
  ///   - data: nil: batches will be added.
  ///   - options: for all plans, whatever their target.
  ///   - target: of the plan that is judged, from which others' losses are predicted; nil: 3 bits a weight, or the fewest possible.
  public init(_ model: LoadedModel, _ data: Calibration?, _ options: PlanOptions, target: Target?) throws(CetError) {
    var options = options
    usualBits = target == nil ? 3 : nil
    if let target { options.target = target }
    options = options.settled(for: model)
    try options.validate()
    guard options.method.rules.table != .oneTarget else {
      throw CetError(
        .invalidArgument, "method '\(options.method.rawValue)' keeps no table that plans for several budgets could be made from")
    }
    self.model = model
    self.options = options
    self.data = data ?? Calibration()
  }

  /// With what was found out before.
  init(_ model: LoadedModel, _ known: Known) {
    self.model = model
    self.known = known
    data = known.samples
    options = known.plan.options
    usualBits = nil
  }

  /// With the losses of single tensors alone.
  init(_ model: LoadedModel, table: Known, usualBits: Double?) {
    self.model = model
    self.table = table
    self.usualBits = usualBits
    data = table.samples
    options = table.plan.options
  }

  public var sampleCount: Int { lock.withLock { data.sampleCount } }

  /// Adds a batch, as to a calibration; not after the table was made.
  public func add(inputs: [(name: String, tensor: Tensor)], labels: Tensor? = nil) throws(CetError) {
    let added: Void? = try turn.ifFree { () throws(CetError) in
      try lock.withLock { () throws(CetError) in
        guard known == nil, table == nil else { throw PlanningSession.isComplete }
        try data.add(inputs: inputs, labels: labels)
      }
    }
    guard added != nil else { throw PlanningSession.isComplete }
  }

  private static var isComplete: CetError {
    CetError(.invalidArgument, "the session has its table of losses: no batch can be added, later samples need a new session")
  }

  /// From now on the session's file is written by the call that makes the table: when the losses of single tensors are measured, and
  /// when a plan is judged.
  /// - Parameter path: nil: no longer.
  public func keep(path: String?) { lock.withLock { self.path = path } }

  /// The plan that carries the table; made when first asked for.
  public func table(_ monitor: Monitor) throws(CetError) -> CompressionPlan { try findings(monitor).plan }

  /// A plan for another budget.
  /// - Parameter options: as the table's, but for the target, bits and patterns.
  public func plan(_ options: PlanOptions, _ monitor: Monitor) throws(CetError) -> CompressionPlan {
    try makePlan(model, sensitivityOf: table(monitor), options)
  }

  /// Carries a plan out: by the recipe that the table's plan was rounded with, fitted to the samples that are not held out.
  public func quantize(_ plan: CompressionPlan, _ options: QuantizeOptions, _ monitor: Monitor) throws(CetError) -> QuantizedModel {
    try options.validate()
    return try monitor.attended { () throws(CetError) in
      try SerialKernels.run { () throws(CetError) in
        try model.findDigest(monitor.check)
        var plan = try model.ready(plan, options)
        let known = try findings(monitor)
        try check(plan, options, known.plan)
        plan.options.rounding = options.rounding ?? plan.options.rounding
        let maxMemory = options.maxMemory ?? plan.options.maxMemory
        var session = try statistics(known, monitor).forCall(threads: options.threads, maxMemory: maxMemory, monitor)
          .rounding(model.rounded(plan))
        let bits = plan.bits(of: model.found.layers)
        try session.reserve(
          .quantizing, model.found.layers.indices.map { bits[$0].map { [$0] } ?? [] }, rounding: plan.options.rounding,
          maxMemory: maxMemory, monitor)
        let rounder = try PlanRounding(session, plan, maxMemory: maxMemory, monitor)
        return try quantized(plan, rounder, recipe(plan, known.plan), calibration: known.fingerprint)
      }
    }
  }

  private func quantized(
    _ plan: CompressionPlan, _ rounder: PlanRounding, _ recipe: RoundingRecipe, calibration: String
  ) throws(CetError) -> QuantizedModel {
    func judgement(_ verdict: PlanRounding.Verdict) throws(CetError) -> PlanJudgement {
      if case .maximumLoss(let limit) = plan.options.target { try LossLimit.check(verdict.expected, limit) }
      return PlanJudgement(verdict, calibration: calibration, rounding: plan.options.rounding)
    }
    if let found = try rounder.heldInLayers(recipe) {
      return try found.session.result(plan, found.layers, judgement(found.verdict), loss: found.loss)
    }
    let judged = try judgement(rounder.judge(recipe))
    let (layers, session) = try rounder.layers(recipe)
    let losses = try session.change(layers).reduce(into: SampleLosses()) { $0.append($1) }
    return try session.result(plan, layers, judged, loss: losses.mean)
  }

  /// How a plan is rounded: as the table's was, without steps that its rounding does not have.
  private func recipe(_ plan: CompressionPlan, _ table: CompressionPlan) -> RoundingRecipe {
    let known = table.judgement?.recipe ?? RoundingRecipe(pass: .parallel)
    switch (plan.options.rounding, known.pass) {
    case (.nearest, _): return RoundingRecipe(pass: .nearest)
    case (.gptq, .sequential): return RoundingRecipe(pass: .parallel, reduced: known.reduced)
    default: return known
    }
  }

  private func check(_ plan: CompressionPlan, _ options: QuantizeOptions, _ table: CompressionPlan) throws(CetError) {
    func same(_ found: String, _ expected: String, _ name: String) throws(CetError) {
      guard found == expected else { throw CetError(.invalidArgument, "\(name) is \(found), the session's is \(expected)") }
    }
    try same(plan.loss.rawValue, table.loss.rawValue, "the plan's loss")
    try same(plan.options.output ?? "the first", table.options.output ?? "the first", "the plan's output")
    if let asked = options.samples { try same("\(asked)", "\(table.samples)", "option samples") }
    if let asked = options.batchSize {
      try same("\(asked)", table.options.batchSize.map { "\($0)" } ?? "the library's choice", "option batch_size")
    }
  }

  /// Throws, with the first difference, unless a session of these samples and options would find out the same. The target is free,
  /// and what changes no result.
  public func check(_ samples: Calibration, _ options: PlanOptions) throws(CetError) {
    guard let known = lock.withLock({ known ?? table }) else {
      throw CetError(.invalidArgument, "the session has no table of losses yet")
    }
    var (asked, made) = (options, known.plan.options)
    // The library's choice of an encoding is the target's, too.
    if asked.choosesEncoding { (asked.encoding, asked.choosesEncoding) = (made.encoding, false) }
    asked = asked.settled(for: model)
    (asked.target, made.target) = (.ratio(1), .ratio(1))
    (asked.maxMemory, made.maxMemory) = (nil, nil)
    (asked.place, made.place) = (.inside, .inside)
    // What the samples are is compared by themselves, and a loss that was not named is the library's choice.
    (asked.samples, made.samples) = (nil, nil)
    if asked.loss == nil { asked.loss = made.loss }
    if case (.object(let asked), .object(let made)) = (asked.json(), made.json()) {
      for (asked, made) in zip(asked, made) where asked.value != made.value {
        throw CetError(
          .invalidArgument, "the session was made with another \(made.name)", expected: made.value.serialized(indented: false),
          got: asked.value.serialized(indented: false))
      }
    }
    let fitted = try samples.fitted(to: model.requiredInputs, fixed: model.overridableInputs).prefix(options.samples)
    guard Fingerprint.text(of: fitted) == known.fingerprint else {
      throw CetError(.invalidArgument, "the session was made with other samples")
    }
  }

  // MARK: What is made once

  func findings(_ monitor: Monitor) throws(CetError) -> Known {
    if let known = lock.withLock({ known }) { return known }
    return try monitor.attended { () throws(CetError) in
      try once(monitor, { lock.withLock { known } }) { () throws(CetError) in
        let former = lock.withLock { table }
        let samples = try lock.withLock { data }.fitted(to: model.requiredInputs, fixed: model.overridableInputs)
        let (plan, session) = try SerialKernels.run { () throws(CetError) in
          try measuredPlan(
            model, samples, options, usualBits: usualBits, known: former?.plan,
            whenMeasured: { plan throws(CetError) in try self.note(plan, samples, monitor) }, monitor)
        }
        let found = Known(plan, try samples.prefix(options.samples))
        let kept = try kept(session, plan)
        let path = lock.withLock {
          (known, table, measured, data) = (found, nil, kept, found.samples)
          return self.path
        }
        if let path { try write(found, path: path, monitor) }
        return found
      }
    }
  }

  /// Remembers the losses of single tensors, from which a later call goes on if this one ends before a plan is judged.
  private func note(_ plan: CompressionPlan, _ samples: Calibration, _ monitor: Monitor) throws(CetError) {
    let found = Known(plan, try samples.prefix(options.samples))
    let path = lock.withLock {
      (table, data) = (found, found.samples)
      return self.path
    }
    if let path { try writeTable(found, usualBits, path: path, monitor) }
  }

  /// What quantizing uses of the samples; made anew for a session that was loaded.
  private func statistics(_ known: Known, _ monitor: Monitor) throws(CetError) -> Session {
    try once(monitor, { lock.withLock { measured } }) { () throws(CetError) in
      let session = try Session(
        model, known.samples, loss: known.plan.loss, output: options.output, batchSize: options.batchSize,
        shifts: options.shifts, threads: options.threads, maxMemory: options.maxMemory, monitor: monitor)
      let kept = try kept(session, known.plan)
      lock.withLock { measured = kept }
      return kept
    }
  }

  /// A session with what later calls use, made now so that none of them waits for another inside, without the programs of this
  /// call and without its wish to stop.
  private func kept(_ session: Session, _ plan: CompressionPlan) throws(CetError) -> Session {
    _ = try session.fitting(plan.options.rounding)
    _ = try session.unchangedLosses()
    let kept = try session.forCall(threads: 1, Monitor())
    session.bound.context.interruption.forget()
    session.bound.context.arena.trim()
    return kept
  }

  /// `make` by one thread at a time; the others hear meanwhile whether to go on.
  private func once<Value>(
    _ monitor: Monitor, _ known: () -> Value?, _ make: () throws(CetError) -> Value
  ) throws(CetError) -> Value {
    while true {
      if let value = known() { return value }
      let made = try turn.ifFree { () throws(CetError) in if let value = known() { value } else { try make() } }
      if let made { return made }
      try monitor.check()
      usleep(10_000)
    }
  }
}
