import CCet
import Cet
import CetTensor

/// 0 stands for the default, nil here.
func optional<Value: FixedWidthInteger>(_ value: Value, _ name: StaticString) throws(CetError) -> Int? {
  value == 0 ? nil : try size(value, name)
}

/// 0 stands for as many as there are processors.
func checkedThreads(_ value: UInt32) throws(CetError) -> Int {
  guard value <= UInt32(CET_MAX_THREADS) else {
    throw CetError(.invalidArgument, "option threads", expected: "at most \(CET_MAX_THREADS)", got: "\(value)")
  }
  return value == 0 ? min(Workers.processorCount, Int(CET_MAX_THREADS)) : Int(value)
}

private func patterns(
  _ pointer: UnsafePointer<UnsafePointer<CChar>?>?, _ count: UInt64, _ name: StaticString
) throws(CetError) -> [String] {
  guard count > 0 else { return [] }
  guard count <= 1 << 20 else { throw invalid("option \(name): \(count) entries") }
  let array = try required(pointer, name)
  return try (0..<Int(count)).map { index throws(CetError) in try text(array[index], "\(name)[\(index)]") }
}

private func rules(
  _ pointer: UnsafePointer<UnsafePointer<CChar>?>?, _ bits: UnsafePointer<Int32>?, _ count: UInt64, _ name: StaticString,
  _ bitsName: StaticString
) throws(CetError) -> [PlanOptions.BitRule] {
  let patterns = try patterns(pointer, count, name)
  guard !patterns.isEmpty else { return [] }
  let widths = try required(bits, bitsName)
  return patterns.enumerated().map { PlanOptions.BitRule(pattern: $1, bits: Int(widths[$0])) }
}

extension PlanOptions {
  /// - Parameter usual: the target where none is set; nil: one must be.
  init(_ pointer: UnsafePointer<cet_plan_options>?, usual: Target? = nil) throws(CetError) {
    let c = try SizedStruct.read(pointer, cet_plan_options(), "cet_plan_options")
    let targets = try c.targets
    guard let target = targets.first ?? usual, targets.count <= 1 else {
      let found = targets.isEmpty ? "none" : "\(targets.count)"
      throw invalid("exactly one of target_ratio, target_bits, target_size and max_loss must be set, found \(found)")
    }
    self.init(target: target)
    method = try CetABI.method(c.method) ?? method
    loss = try CetABI.loss(c.loss)
    curvature = try CetABI.curvature(c.curvature) ?? curvature
    rounding = try CetABI.rounding(c.rounding) ?? rounding
    choosesEncoding = c.encoding == CET_ENCODING_AUTO
    encoding = try choosesEncoding ? encoding : CetABI.encoding(c.encoding) ?? encoding
    runtime = try c.min_runtime.map { chars throws(CetError) in try Runtime(text(chars, "min_runtime")) }
    let granularity = try CetABI.granularity(c.granularity, blockSize: c.block_size)
    usesUsualGranularity = granularity == nil
    self.granularity = granularity ?? self.granularity
    coding = try CetABI.coding(c.coding) ?? coding
    effort = try CetABI.effort(c.effort) ?? effort
    if c.bits != 0 {
      bits = (0..<32).filter { c.bits >> UInt32($0) & 1 == 1 }
    }
    keep = try patterns(c.keep_patterns, c.keep_count, "keep_patterns")
    fix = try rules(c.fix_patterns, c.fix_bits, c.fix_count, "fix_patterns", "fix_bits")
    minBits = try rules(c.min_patterns, c.min_bits, c.min_count, "min_patterns", "min_bits")
    maxBits = try rules(c.max_patterns, c.max_bits, c.max_count, "max_patterns", "max_bits")
    group = try patterns(c.group_patterns, c.group_count, "group_patterns")
    seed = c.seed
    samples = try optional(c.samples, "samples")
    maxMemory = try optional(c.max_memory, "max_memory")
    batchSize = try optional(c.batch_size, "batch_size")
    eigenpairs = try optional(c.eigenpairs, "eigenpairs")
    maxIterations = try optional(c.max_iterations, "max_iterations")
    output = try c.output.map { chars throws(CetError) in try text(chars, "output") }
    activations = try ActivationOptions(c)
    guard c.external_data <= 1 else { throw invalid("option external_data: expected 0 or 1, got \(c.external_data)") }
    place = c.external_data == 1 ? .beside : .inside
    threads = try checkedThreads(c.threads)
    shifts = c.shifts == 0 ? nil : c.shifts == CET_NO_SHIFTS ? 0 : Int(c.shifts)
    try validate()
  }

  /// The options of a plan from a table: what is left 0 is the source's, what is set must be the same.
  init(_ pointer: UnsafePointer<cet_plan_options>?, sensitivityOf source: CompressionPlan) throws(CetError) {
    try self.init(pointer)
    let c = try SizedStruct.read(pointer, cet_plan_options(), "cet_plan_options")
    func same<Value: Equatable>(_ asked: Int32, _ value: inout Value, _ expected: Value, _ name: StaticString) throws(CetError) {
      guard asked == 0 || value == expected else {
        throw invalid("option \(name): the plan's table was made with \(expected), got \(value)")
      }
      value = expected
    }
    try same(c.method, &method, source.options.method, "method")
    try same(c.curvature, &curvature, source.options.curvature, "curvature")
    try same(c.rounding, &rounding, source.options.rounding, "rounding")
    try same(c.granularity, &granularity, source.options.granularity, "granularity")
    if let asked = loss, asked != source.loss {
      throw invalid("option loss: the plan's table was made with \(source.loss.rawValue), got \(asked.rawValue)")
    }
    loss = source.options.loss
    if let output, output != source.options.output {
      throw invalid("option output: the plan's table was made with \(source.options.output ?? "the first one"), got \(output)")
    }
    output = source.options.output
    samples = source.options.samples
    seed = source.options.seed
    shifts = source.options.shifts
    if c.encoding == 0 || choosesEncoding { encoding = source.options.encoding }
    (choosesEncoding, usesUsualGranularity) = (false, false)
    if runtime == nil { runtime = source.options.runtime }
    if c.bits == 0 {
      bits = source.options.bits
      // Nobody asked for 1 bit: what is refused is the encoding, whose codes the table does not know.
      if bits?.first == 1, let obstacle = encoding.trellisObstacle {
        throw invalid("option encoding: the plan's losses are of trellis codes; \(obstacle): plan from calibration data")
      }
    }
    try same(c.coding, &coding, source.options.coding, "coding")
    if c.effort == 0 { effort = source.options.effort }
    if c.keep_count == 0 { keep = source.options.keep }
    if c.fix_count == 0 { fix = source.options.fix }
    if c.min_count == 0 { minBits = source.options.minBits }
    if c.max_count == 0 { maxBits = source.options.maxBits }
    if c.group_count == 0 { group = source.options.group }
    activations = activations ?? source.options.activations
    if let asked = activations?.range, let made = source.options.activations?.range, c.activation_bits != 0 {
      guard asked == made || c.activation_range == 0 else {
        throw invalid("option activation_range: the plan's table was made with \(made.rawValue), got \(asked.rawValue)")
      }
      activations?.range = made
    }
    try validate()
  }
}

extension cet_plan_options {
  /// Those that are set.
  var targets: [Target] {
    get throws(CetError) {
      var targets: [Target] = []
      if target_ratio != 0 { targets.append(.ratio(target_ratio)) }
      if target_bits != 0 { targets.append(.bits(target_bits)) }
      if target_size != 0 { targets.append(.size(try size(target_size, "target_size"))) }
      if max_loss != 0 { targets.append(.maximumLoss(max_loss)) }
      return targets
    }
  }
}

extension QuantizeOptions {
  init(_ c: cet_quantize_options) throws(CetError) {
    self.init()
    rounding = try CetABI.rounding(c.rounding)
    encoding = try CetABI.encoding(c.encoding)
    effort = try CetABI.effort(c.effort)
    samples = try optional(c.samples, "samples")
    batchSize = try optional(c.batch_size, "batch_size")
    maxMemory = try optional(c.max_memory, "max_memory")
    threads = try checkedThreads(c.threads)
    try validate()
  }
}

extension CurvatureOptions {
  init(_ pointer: UnsafePointer<cet_curvature_options>?) throws(CetError) {
    let c = try SizedStruct.read(pointer, cet_curvature_options(), "cet_curvature_options")
    self.init()
    loss = try CetABI.loss(c.loss)
    curvature = try CetABI.curvature(c.curvature) ?? curvature
    samples = try optional(c.samples, "samples")
    batchSize = try optional(c.batch_size, "batch_size")
    maxMemory = try optional(c.max_memory, "max_memory")
    output = try c.output.map { chars throws(CetError) in try text(chars, "output") }
    keep = try patterns(c.keep_patterns, c.keep_count, "keep_patterns")
    only = try patterns(c.only_patterns, c.only_count, "only_patterns")
    threads = try checkedThreads(c.threads)
    guard c.reserved == 0 else { throw invalid("cet_curvature_options: reserved is \(c.reserved), expected 0") }
    try validate()
  }
}

/// The communicator of a call; nil when the options name none.
func communicator(_ pointer: UnsafePointer<cet_curvature_options>?) throws(CetError) -> Communicator? {
  let options = try SizedStruct.read(pointer, cet_curvature_options(), "cet_curvature_options")
  guard options.communicator != nil else { return nil }
  let c = try SizedStruct.read(options.communicator, cet_communicator(), "cet_communicator")
  guard let sum = c.allreduce_sum else { throw invalid("communicator: allreduce_sum is NULL") }
  guard c.reserved == 0 else { throw invalid("cet_communicator: reserved is \(c.reserved), expected 0") }
  let userData = c.user_data
  return try Communicator(rank: Int(c.rank), size: Int(c.size)) { sum($0, $1, userData) }
}

/// The monitor of a call whose options carry these callbacks and these threads.
func monitor(
  _ progress: cet_progress_fn?, _ log: cet_log_fn?, _ userData: UnsafeMutableRawPointer?,
  executor: UnsafePointer<cet_executor>?
) throws(CetError) -> Monitor {
  monitor(progress, log, userData, threads: try hostThreads(executor))
}

/// Without a log of its own a call writes to the process's, if there is one.
func monitor(
  _ progress: cet_progress_fn?, _ log: cet_log_fn?, _ userData: UnsafeMutableRawPointer?, threads: HostThreads? = nil
) -> Monitor {
  let hook = log.map { ProcessLog.Hook(function: $0, userData: userData) } ?? ProcessLog.current
  return Monitor(
    progress: progress.map { callback in
      { phase, done, total in callback(phase.rawValue, UInt64(clamping: done), UInt64(clamping: total), userData) == 0 }
    },
    log: hook.map { hook in
      { level, message in message.withCString { hook.function(level.rawValue, $0, hook.userData) } }
    }, threads: threads)
}
