import CetAllocate
import CetEncode
import CetLayers
import CetTensor

/// What may be chosen for each layer, and what every choice costs.
struct PlanDraft {
  let model: LoadedModel
  let options: PlanOptions
  /// Allowed bits of each layer, ascending; one entry when fixed, none when kept.
  let widths: [[Int]]
  private let choices: [NamedChoice]
  private let sizes: FileSizes
  private var layers: [LinearLayer] { model.found.layers }

  /// Why a layer is kept that the calibration data say nothing about.
  static let unreachedReason = "the loss does not depend on it for the calibration data"

  static func nothingReached(_ output: String) -> CetError {
    CetError(
      .invalidArgument,
      "nothing is left to quantize: the loss of output '\(output)' depends on no weight for the calibration data")
  }

  /// - Parameter reached: layers that the loss depends on; the others stay as they are unless a fix pattern names them.
  init(_ model: LoadedModel, _ options: PlanOptions, reached: Set<Int>) throws {
    self.model = model
    self.options = options
    try model.checkWeights()
    choices = try options.choices(for: model.found.layers.map(\.name)).enumerated().map { index, choice in
      if case .kept = choice { return choice }
      if let reason = model.found.obstacle(index) { return .unusable(reason) }
      return choice == .free && !reached.contains(index) ? .unreached : choice
    }
    widths = choices.map { choice in
      switch choice {
      case .free: options.bits
      case .fixed(let bits, _): [bits]
      case .kept, .unreached, .unusable: []
      }
    }
    guard widths.contains(where: { !$0.isEmpty }) else {
      throw choices.contains(.unreached)
        ? PlanDraft.nothingReached(options.output ?? model.outputNames.first ?? "")
        : CetError(.invalidArgument, "the keep patterns leave nothing to quantize")
    }
    sizes = FileSizes(model.found, of: model.file, encoding: options.encoding, granularity: options.granularity)
    // A model that the operator set of the fewest bits has no form for is refused before anything is measured.
    _ = try fileBytes(widths.map(\.first))
  }

  var planned: [Int] { layers.indices.filter { !widths[$0].isEmpty } }
  private var plannedCount: Int { planned.reduce(0) { $0 + layers[$1].count } }
  private var addsBiases: Bool { options.rounding != .nearest }

  private func fileBytes(_ bits: [Int?]) throws -> Int {
    try sizes.bytes(bits: bits, addsBiases: addsBiases, metadata: FileMetadata.ofUnknownLosses(model, bits: bits))
  }

  private func codeBits(_ bits: [Int?]) -> Int {
    planned.reduce(0) { $0 + layers[$1].count * (bits[$1] ?? 0) }
  }

  /// Code bits that the target allows, for targets that count code bits.
  var codeBitBudget: Int? {
    switch options.target {
    case .ratio(let ratio): Int(saturating: (Double(plannedCount) * 32 / ratio).rounded(.down))
    case .bits(let bits): Int(saturating: (Double(plannedCount) * bits).rounded(.down))
    case .size, .maximumLoss: nil
    }
  }

  func checkTarget() throws {
    let lowest = widths.map(\.first)
    let highest = widths.map(\.last)
    if let budget = codeBitBudget, codeBits(lowest) > budget {
      func ratio(_ bits: [Int?]) -> String { PlanDraft.short(32 * Double(plannedCount) / Double(max(codeBits(bits), 1))) }
      switch options.target {
      case .ratio(let asked):
        throw CetError(
          .infeasibleBudget,
          "ratio \(PlanDraft.short(asked)) cannot be reached: the allowed bits give \(ratio(highest)) to \(ratio(lowest))")
      default:
        let mean = PlanDraft.short(Double(codeBits(lowest)) / Double(plannedCount))
        let most = PlanDraft.short(Double(codeBits(highest)) / Double(plannedCount))
        throw CetError(.infeasibleBudget, "the target mean bits cannot be reached: the allowed bits give \(mean) to \(most)")
      }
    }
    if case .size(let bytes) = options.target {
      let least = try fileBytes(lowest)
      if least > bytes {
        throw CetError(
          .infeasibleBudget,
          "a file of \(bytes) bytes cannot be reached: the allowed bits give \(least) to \(try fileBytes(highest)) bytes")
      }
    }
  }

  private static func short(_ value: Double) -> String { "\((value * 1000).rounded() / 1000)" }

  // MARK: Choosing

  /// - Parameters:
  ///   - tableLimit: the most that the table's losses may sum to, for the target `max_loss`.
  ///   - given: bits that were chosen elsewhere, by layer index.
  func plan(
    _ table: LossTable, loss: LossKind, samples: Int, tableLimit: Double? = nil, given: [Int: Int]? = nil
  ) throws -> CompressionPlan {
    let losses = sensitivity(table)
    let choice: Choice
    if let given {
      choice = Choice(bits: layers.indices.map { given[$0] }, lossPerByte: layers.map { _ in nil })
    } else {
      choice = options.method == .uniform ? try uniformChoice() : try choose(losses, tableLimit: tableLimit)
    }
    let bits = choice.bits
    var tensors: [PlannedTensor] = []
    for (index, layer) in layers.enumerated() {
      guard let width = bits[index] else {
        tensors.append(
          PlannedTensor(
            name: layer.name, shape: layer.shape, bits: PlannedTensor.keptBits, decision: .kept,
            reason: reason(index, choice)))
        tensors[tensors.count - 1].axis = options.granularity == .perTensor ? nil : layer.axis
        tensors[tensors.count - 1].storedBytes = layer.count * 4
        continue
      }
      var tensor = PlannedTensor(
        name: layer.name, shape: layer.shape, bits: width, decision: widths[index].count == 1 && isFixed(index) ? .fixed : .chosen,
        reason: reason(index, choice))
      tensor.axis = options.granularity == .perTensor ? nil : layer.axis
      tensor.blockSize = options.granularity.blockSize
      tensor.sensitivity = losses[index]
      tensor.measuredLoss = table.measured[index]
      tensor.trustRadius = table.trustRadius[index]
      tensor.curvatureLoss = table.curvature[index]
      tensor.lossPerByte = choice.lossPerByte[index]
      (tensor.codeBytes, tensor.storedBytes) = sizes.storedBytes(layer, bits: width)
      tensors.append(tensor)
    }
    var plan = CompressionPlan(
      modelSHA256: model.sha256, modelBytes: model.byteCount, options: options, loss: loss, samples: samples,
      tensors: tensors, fileBytes: try fileBytes(bits))
    if let summary = model.existing.summary { plan.notes.append(summary) }
    let lost = model.file.model.irVersion < 4 ? [] : model.overridableInputs.filter { input in
      planned.contains { layers[$0].name == input.name }
    }
    if !lost.isEmpty {
      plan.notes.append("no inputs any more, because their initializers are quantized: \(lost.map(\.name).joined(separator: ", "))")
    }
    return plan
  }

  /// The losses that the choice rests on: of measured ones those at the judging temperature, else those from a model of the loss.
  /// More bits never count as worse: what looks like it is noise, and the greater loss of more bits holds for fewer.
  private func sensitivity(_ table: LossTable) -> [[Int: Double]] {
    var losses = zip(table.judged, table.curvature).map { $0.isEmpty ? $1 : $0 }
    for index in planned {
      var least = 0.0
      for bits in widths[index].reversed() {
        guard let value = losses[index][bits] else { continue }
        least = max(value, least)
        losses[index][bits] = least
      }
    }
    return losses
  }

  private func isFixed(_ index: Int) -> Bool { if case .fixed = choices[index] { true } else { false } }

  private struct Choice {
    var bits: [Int?]
    var lossPerByte: [Double?]
  }

  private func reason(_ index: Int, _ choice: Choice) -> String {
    switch choices[index] {
    case .kept(let pattern): return "keep pattern '\(pattern)'"
    case .unreached: return PlanDraft.unreachedReason
    case .unusable(let reason): return reason
    case .fixed(_, let pattern): return "fix pattern '\(pattern)'"
    case .free:
      if options.method == .uniform { return "the same bits everywhere" }
      if options.method == .clado { return "least loss of all pairs of tensors that moves of one or two of them reach" }
      if options.method == .paper { return "size of the error that the stiff axes leave to this tensor" }
      guard let bits = choice.bits[index], let next = widths[index].first(where: { $0 > bits }) else {
        return "the most bits allowed: cheapest loss per byte"
      }
      return "\(next) bits would save less loss per byte than elsewhere"
    }
  }

  /// Method uniform: the most bits that keep the target, everywhere.
  private func uniformChoice() throws -> Choice {
    for width in options.bits.reversed() {
      let bits: [Int?] = layers.indices.map { isFixed($0) ? widths[$0].first : widths[$0].isEmpty ? nil : width }
      let fits: Bool
      switch options.target {
      case .ratio, .bits: fits = codeBits(bits) <= codeBitBudget ?? 0
      case .size(let bytes): fits = try fileBytes(bits) <= bytes
      case .maximumLoss:
        throw CetError(.invalidArgument, "method 'uniform' measures no losses, so max_loss cannot be its target")
      }
      if fits { return Choice(bits: bits, lossPerByte: layers.map { _ in nil }) }
    }
    try checkTarget()
    throw CetError(.infeasibleBudget, "no single width of \(options.bits) meets the target together with the fix patterns")
  }

  /// Exact multiple-choice knapsack over code bits, or over bytes for targets in file size.
  private func choose(_ losses: [[Int: Double]], tableLimit: Double?) throws -> Choice {
    switch options.target {
    case .ratio, .bits:
      let items = items(losses) { layers[$0].count * $1 }
      return choice(try Knapsack.solve(items, budget: codeBitBudget ?? 0), losses)
    case .size(let bytes): return try solve(losses, fileBytes: bytes)
    case .maximumLoss(let limit):
      let items = items(losses, cost: storedCost)
      // The most bits of all are the best that the table has, whatever they lose.
      let least = items.reduce(0) { $0 + ($1.map(\.loss).min() ?? 0) }
      return choice(try Knapsack.solve(items, maximumLoss: max(tableLimit ?? limit, least * (1 + 1e-9))), losses)
    }
  }

  private func items(_ losses: [[Int: Double]], cost: (Int, Int) -> Int) -> [[Knapsack.Option]] {
    planned.map { index in widths[index].map { .init(cost: cost(index, $0), loss: losses[index][$0] ?? 0) } }
  }

  private func choice(_ solution: Knapsack.Solution, _ losses: [[Int: Double]]) -> Choice {
    var choice = Choice(bits: layers.map { _ in nil }, lossPerByte: layers.map { _ in nil })
    for (position, index) in planned.enumerated() {
      let picked = solution.choice[position]
      choice.bits[index] = widths[index][picked]
      choice.lossPerByte[index] = lossPerByte(index, picked, losses)
    }
    return choice
  }

  /// The loss that the next byte for this layer would save.
  private func lossPerByte(_ index: Int, _ picked: Int, _ losses: [[Int: Double]]) -> Double? {
    guard picked + 1 < widths[index].count else { return nil }
    let (bits, next) = (widths[index][picked], widths[index][picked + 1])
    guard let now = losses[index][bits], let then = losses[index][next] else { return nil }
    return (now - then) / (Double(layers[index].count * (next - bits)) / 8)
  }

  func storedCost(_ index: Int, _ bits: Int) -> Int {
    sizes.storedBytes(layers[index], bits: bits).stored
  }

  /// Bytes of a file are almost the sum over tensors; what is not (lengths in the format, shared constants) is
  /// found by asking for the exact size and giving the difference back.
  private func solve(_ losses: [[Int: Double]], fileBytes limit: Int) throws -> Choice {
    let lowest = widths.map(\.first)
    let rest = try fileBytes(lowest) - planned.reduce(0) { $0 + storedCost($1, widths[$1][0]) }
    let items = items(losses, cost: storedCost)
    return try withinFile(limit, from: limit - rest) { choice(try Knapsack.solve(items, budget: $0), losses) } bits: { $0.bits }
  }

  /// Calls `make` with falling budgets in stored bytes until the file of its result is small enough.
  private func withinFile<Result>(
    _ limit: Int, from start: Int, _ make: (Int) throws -> Result, bits: (Result) -> [Int?]
  ) throws -> Result {
    var budget = start
    while true {
      let result = try make(budget)
      let excess = try fileBytes(bits(result)) - limit
      if excess <= 0 { return result }
      budget -= excess
    }
  }

  /// `make(budget, cost)` under the plan's target, for methods that choose by themselves: code bits, or stored
  /// bytes that are lowered until the file fits.
  func underTarget(_ make: (_ budget: Int, _ cost: (Int, Int) -> Int) throws -> [Int: Int]) throws -> [Int: Int] {
    switch options.target {
    case .ratio, .bits: return try make(codeBitBudget ?? 0) { layers[$0].count * $1 }
    case .size(let limit):
      let lowest = widths.map(\.first)
      let rest = try fileBytes(lowest) - planned.reduce(0) { $0 + storedCost($1, widths[$1][0]) }
      return try withinFile(limit, from: limit - rest) { try make($0, storedCost) } bits: { chosen in
        layers.indices.map { chosen[$0] }
      }
    case .maximumLoss:
      throw CetError(
        .invalidArgument, "method '\(options.method.rawValue)' measures no losses, so max_loss cannot be its target")
    }
  }
}
