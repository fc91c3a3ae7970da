import CetEncode
import CetLayers
import CetQuantize
import CetTensor

/// What may be chosen for each layer, and what every choice costs.
struct PlanDraft {
  let model: LoadedModel
  private(set) var options: PlanOptions
  /// Allowed bits of each layer, ascending; one entry when fixed, none when kept.
  let widths: [[Int]]
  /// The planned layers, those together that get the same bits.
  let units: [[Int]]
  /// What codes of each layer and width stand for: expected at first, known once they are rounded.
  private(set) var codings: [[Int: Coding]]
  let rules: CodeRules
  /// nil: none is asked for.
  let activations: Activations?
  private let choices: [NamedChoice]
  private let sizes: FileSizes
  var layers: [LinearLayer] { model.found.layers }

  /// Why a layer is kept that the calibration data say nothing about.
  static let unreachedReason = "the loss does not depend on it for the calibration data"

  static func nothingReached(_ output: String) -> CetError {
    CetError(
      .invalidArgument,
      "nothing is left to quantize: the loss of output '\(output)' depends on no weight for the calibration data")
  }

  /// - Parameter reached: layers that the loss depends on; the others stay as they are unless a fix pattern names them.
  init(_ model: LoadedModel, _ options: PlanOptions, reached: Set<Int>) throws(CetError) {
    self.model = model
    self.options = options
    try model.checkWeights()
    let rules = options.codeRules(of: model)
    func possible(_ index: Int, _ widths: [Int]) -> [Int] {
      options.encoding.widths(widths, of: model.found.layers[index], options.granularity, options.runtime).filter { rules.expected(bits: $0, columns: model.found.layers[index].columns) != nil }
    }
    func obstacle(_ index: Int, _ bits: Int) -> String? {
      options.encoding.obstacle(bits: bits, of: model.found.layers[index], options.granularity, options.runtime)
    }
    let obstacles = options.widths.compactMap { options.encoding.obstacle(bits: $0, options.runtime) }
    if let reason = obstacles.last, obstacles.count == options.widths.count {
      throw CetError(.invalidArgument, "option bits: \(reason), and no more are allowed")
    }
    let names = model.found.tensorNames
    let limits = try options.limits(for: names)
    let choices = try options.choices(for: names).enumerated().map { index, choice throws(CetError) in
      if case .kept = choice { return choice }
      if let reason = model.found.obstacle(index) { return .unusable(reason) }
      if case .fixed(let bits, let pattern) = choice, possible(index, [bits]).isEmpty {
        let reason = obstacle(index, bits)
          ?? "'\(model.found.layers[index].name)' cannot have trellis codes, and so not \(bits) bit"
        throw CetError(.invalidArgument, "fix '\(pattern)': \(reason)")
      }
      if choice == .free, possible(index, options.widths).isEmpty {
        return .unusable(options.widths.last.flatMap { obstacle(index, $0) } ?? "none of the allowed bits is possible")
      }
      return choice == .free && !reached.contains(index) ? .unreached : choice
    }
    var widths = try choices.enumerated().map { index, choice throws(CetError) in
      switch choice {
      case .free: try limits[index].widths(of: possible(index, options.widths), name: model.found.layers[index].name)
      case .fixed(let bits, _): [bits]
      case .kept, .unreached, .unusable: [Int]()
      }
    }
    guard widths.contains(where: { !$0.isEmpty }) else {
      if choices.contains(.unreached) { throw PlanDraft.nothingReached(options.output ?? model.outputNames.first ?? "") }
      let reasons = choices.compactMap { if case .unusable(let reason) = $0 { reason } else { nil } }
      throw CetError(.invalidArgument, reasons.first.map { "nothing is left to quantize: \($0)" } ?? "the keep patterns leave nothing to quantize")
    }
    units = try TensorGroups.units(
      options.group, model.found.layers, names, planned: widths.indices.filter { !widths[$0].isEmpty })
    for unit in units where unit.count > 1 {
      let common = try TensorGroups.common(unit, widths, model.found.layers)
      for index in unit { widths[index] = common }
    }
    self.choices = choices
    self.widths = widths
    self.rules = rules
    codings = zip(model.found.layers, widths).map { layer, widths in
      Dictionary(uniqueKeysWithValues: widths.map { ($0, rules.expected(bits: $0, columns: layer.columns)?.coding ?? .affine) })
    }
    let planned = Set(widths.indices.filter { !widths[$0].isEmpty })
    activations = options.activations.map { _ in Activations(model.found, planned: planned) }
    var written: [WrittenActivation] = []
    if let asked = options.activations, let activations { written = try activations.largest(asked, model.found.layers) }
    sizes = FileSizes(
      model.found, of: model.file, encoding: options.encoding, granularity: options.granularity, runtime: options.runtime,
      activations: written, place: options.place)
    // A model that the operator set of the fewest bits has no form for is refused before anything is measured.
    _ = try fileBytes(widths.map(\.first))
  }

  /// The draft with what rounding found out about codings.
  func knowing(_ codings: [[Int: Coding]]) -> PlanDraft {
    var draft = self
    for (index, known) in codings.enumerated() { draft.codings[index].merge(known) { $1 } }
    return draft
  }

  /// The draft with a target of so many bits a weight, or of the fewest that can be reached.
  func aiming(atBits bits: Double) -> PlanDraft {
    var draft = self
    let lowest = Double(codeBits(widths.map(\.first))) / Double(max(1, plannedCount))
    draft.options.target = .bits(max(bits, lowest * (1 + 1e-12)))
    return draft
  }

  func format(_ index: Int, _ bits: Int) -> CodeFormat { CodeFormat(bits: bits, coding: codings[index][bits] ?? .affine) }

  private func formats(_ bits: [Int?]) -> [CodeFormat?] { bits.enumerated().map { index, bits in bits.map { format(index, $0) } } }

  var planned: [Int] { layers.indices.filter { !widths[$0].isEmpty } }
  /// Of the planned layers, by index.
  var plannedWidths: [Int: [Int]] { Dictionary(uniqueKeysWithValues: planned.map { ($0, widths[$0]) }) }
  private var plannedCount: Int { planned.reduce(0) { $0 + layers[$1].count } }
  private var addsBiases: Bool { options.rounding != .nearest }

  private func fileBytes(_ bits: [Int?]) throws(CetError) -> Int {
    try sizes.bytes(formats(bits), addsBias: { _ in addsBiases }, metadata: FileMetadata.ofUnknownLosses(model, bits: bits))
  }

  private func codeBits(_ bits: [Int?]) -> Int {
    planned.reduce(0) { $0 + layers[$1].count * (bits[$1] ?? 0) }
  }

  /// Code bits that the target allows, for targets that count code bits. A quotient of whole numbers, as plans tell their own, must not
  /// lose a bit to its last digit.
  var codeBitBudget: Int? {
    let bits: Double
    switch options.target {
    case .ratio(let ratio): bits = 32 / ratio
    case .bits(let asked): bits = asked
    case .size, .maximumLoss: return nil
    }
    return Int(saturating: (Double(plannedCount) * bits * (1 + 1e-14)).rounded(.down))
  }

  func checkTarget() throws(CetError) {
    let lowest = widths.map(\.first)
    let highest = widths.map(\.last)
    if let budget = codeBitBudget, codeBits(lowest) > budget {
      func ratio(_ bits: [Int?]) -> String { PlanDraft.short(32 * Double(plannedCount) / Double(max(codeBits(bits), 1))) }
      switch options.target {
      case .ratio(let asked):
        throw CetError(
          .infeasibleBudget,
          "ratio \(PlanDraft.short(asked)) cannot be reached: the allowed bits give \(ratio(highest)) to \(ratio(lowest))"
        ).with(.expected, "\(ratio(highest)) to \(ratio(lowest))").with(.got, PlanDraft.short(asked))
      default:
        let mean = PlanDraft.short(Double(codeBits(lowest)) / Double(plannedCount))
        let most = PlanDraft.short(Double(codeBits(highest)) / Double(plannedCount))
        throw CetError(.infeasibleBudget, "the target mean bits cannot be reached: the allowed bits give \(mean) to \(most)")
          .with(.expected, "\(mean) to \(most)")
      }
    }
    if case .size(let bytes) = options.target {
      if try fileBytes(lowest) > bytes, try widestUniform(within: bytes) == nil { throw try unreachable(bytes) }
    }
  }

  /// The same bits for all, as near as their widths come, from the fewest on.
  private var uniformBits: [[Int?]] {
    Set(widths.joined()).sorted().map { most in widths.map { allowed in allowed.last { $0 <= most } ?? allowed.first } }
  }

  /// The most bits, the same for all, of which a file is no larger. Fewer bits may make a larger file, where they alone need what
  /// tensors share, such as a trellis' table.
  private func widestUniform(within bytes: Int) throws(CetError) -> [Int?]? {
    for bits in uniformBits.reversed() where try fileBytes(bits) <= bytes { return bits }
    return nil
  }

  private func unreachable(_ bytes: Int) throws(CetError) -> CetError {
    let sizes = try uniformBits.map { bits throws(CetError) in try fileBytes(bits) }
    let range = "\(sizes.min() ?? 0) to \(sizes.max() ?? 0) bytes"
    return CetError(.infeasibleBudget, "a file of \(bytes) bytes cannot be reached: the allowed bits give \(range)")
      .with(.expected, range).with(.got, "\(bytes) bytes")
  }

  private static func short(_ value: Double) -> String { "\((value * 1000).rounded() / 1000)" }

  // MARK: Choosing

  /// - Parameter tableLimit: the most that the table's losses may sum to, for the target `max_loss`.
  func plan(
    _ table: LossTable, loss: LossKind, samples: Int, tableLimit: Double? = nil
  ) throws(CetError) -> CompressionPlan {
    let losses = sensitivity(table)
    let choice = try options.method.rules.choice(self, table, losses: losses, limit: tableLimit)
    let bits = choice.bits
    var tensors: [PlannedTensor] = []
    for (index, layer) in layers.enumerated() {
      guard let width = bits[index] else {
        tensors.append(
          PlannedTensor(
            name: layer.name, shape: layer.shape, bits: PlannedTensor.keptBits, decision: .kept,
            reason: reason(index, bits: nil)))
        tensors[tensors.count - 1].axis = options.granularity == .perTensor ? nil : layer.axis
        tensors[tensors.count - 1].storedBytes = layer.count * 4
        continue
      }
      var tensor = PlannedTensor(
        name: layer.name, shape: layer.shape, bits: width, coding: format(index, width).coding.kind,
        decision: widths[index].count == 1 && isFixed(index) ? .fixed : .chosen, reason: reason(index, bits: width))
      tensor.axis = options.granularity == .perTensor ? nil : layer.axis
      tensor.blockSize = options.granularity.blockSize
      tensor.codings = codings[index].filter { losses[index][$0.key] != nil }.mapValues(\.kind)
      tensor.sensitivity = losses[index]
      tensor.measuredLoss = table.measured[index]
      tensor.trustRadius = table.trustRadius[index]
      tensor.curvatureLoss = table.curvature[index]
      tensor.lossPerByte = choice.lossPerByte[index]
      (tensor.codeBytes, tensor.storedBytes) = sizes.storedBytes(layer, format(index, width))
      tensors.append(tensor)
    }
    for (index, layer) in layers.enumerated() { tensors[index].name(layer) }
    var plan = CompressionPlan(
      modelSHA256: model.sha256, modelBytes: model.byteCount, options: options, loss: loss, samples: samples,
      tensors: tensors, fileBytes: try fileBytes(bits))
    if let asked = options.activations, let activations {
      plan.activations = try table.activations.chosen(asked, weightLoss: plan.tableLoss)
      plan.fileBytes = try plan.fileBytes(of: model) { _ in addsBiases }
      let held = try plan.heldIntegers(of: model)
      // What was counted so far is for activations of the most bits.
      if options.encoding.holdsIntegers {
        for index in planned { plan.tensors[index].countBytes(options, layers[index], isInteger: held.contains(index)) }
      }
      let narrow = held.count { plan.tensors[$0].bits < Activation.integerBits }
      if narrow > 0 {
        plan.notes.append(
          "encoding \(options.encoding.rawValue): \(narrow) tensor\(narrow == 1 ? "" : "s") of fewer than 8 bits take\(narrow == 1 ? "s" : "") 8 in the file, beside activations of codes: encoding planes keeps the file small")
      }
      plan.notes += activations.notes(plan.activations, model.found)
      if let obstacle = options.encoding.activationObstacle(options.runtime) { plan.notes.append(obstacle) }
      plan.notes += options.encoding.notes(model.found.layers, activations: try model.written(plan))
    }
    if options.encoding == .ort, !planned.contains(where: { index in bits[index].map { isInKernel(index, $0) } ?? false }) {
      plan.notes.append("encoding ort: no tensor of this plan stays codes in memory, all are written as planes")
    }
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

  private func reason(_ index: Int, bits: Int?) -> String {
    switch choices[index] {
    case .kept(let pattern): "keep pattern '\(pattern)'"
    case .unreached: PlanDraft.unreachedReason
    case .unusable(let reason): reason
    case .fixed(_, let pattern): "fix pattern '\(pattern)'"
    case .free: options.method.rules.reason(self, index, bits: bits) + together(index)
    }
  }

  /// Whose bits a layer shares, in words.
  private func together(_ index: Int) -> String {
    guard let others = units.first(where: { $0.contains(index) })?.filter({ $0 != index }), let first = others.first else { return "" }
    return ", with '\(layers[first].name)'" + (others.count > 1 ? " and \(others.count - 1) more" : "")
  }

  /// The same width for all layers that are free and can have it, the next larger one for others.
  func bits(everywhere width: Int) -> [Int?] {
    layers.indices.map { index in
      isFixed(index) ? widths[index].first : widths[index].first { $0 >= width } ?? widths[index].last
    }
  }

  /// Whether these bits meet the target.
  func fits(_ bits: [Int?]) throws(CetError) -> Bool {
    switch options.target {
    case .ratio, .bits: codeBits(bits) <= codeBitBudget ?? 0
    case .size(let bytes): try fileBytes(bits) <= bytes
    case .maximumLoss: throw measuresNoLosses
    }
  }

  private func isInKernel(_ index: Int, _ bits: Int) -> Bool {
    options.encoding.kernelWidths(of: layers[index], options.granularity, options.runtime).contains(bits)
  }

  private var measuresNoLosses: CetError {
    CetError(.invalidArgument, "method '\(options.method.rawValue)' measures no losses, so max_loss cannot be its target")
  }

  func storedCost(_ index: Int, _ bits: Int) -> Int {
    sizes.storedBytes(layers[index], format(index, bits)).stored
  }

  /// What `make` gives for a budget in code bits, or in stored bytes for a target in file size.
  ///
  /// Bytes of a file are almost the sum over tensors; what is not (lengths in the format, shared constants) is found by
  /// asking for the exact size and giving the difference back, until the file is small enough.
  func underTarget(_ make: (_ budget: Int, _ cost: (Int, Int) -> Int) throws(CetError) -> BitChoice) throws(CetError) -> BitChoice {
    switch options.target {
    case .ratio, .bits: return try make(codeBitBudget ?? 0) { layers[$0].count * $1 }
    case .size(let limit):
      let rest = try fileBytes(widths.map(\.first)) - planned.reduce(0) { $0 + storedCost($1, widths[$1][0]) }
      var budget = limit - rest
      do {
        while true {
          let choice = try make(budget, storedCost)
          let excess = try fileBytes(choice.bits) - limit
          if excess <= 0 { return choice }
          budget -= excess
        }
      } catch {
        guard error.code == .infeasibleBudget else { throw error }
        guard let bits = try widestUniform(within: limit) else { throw try unreachable(limit) }
        return BitChoice(bits: bits)
      }
    case .maximumLoss: throw measuresNoLosses
    }
  }
}
