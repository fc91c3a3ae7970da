/// What a report tells, gathered by compress, plan, sweep and check.
struct Report {
  struct Run {
    /// The ratio that was asked for, of several.
    var label = ""
    var outcome: Outcome
    var agreement: Agreement? { outcome.written?.agreement }
  }

  var input: String
  var runs: [Run]
  var curve: SizeLossCurve?
  var rivals: [CurvePoint] = []
  var geometry: Geometry?
  var notes: [String] = []

  private var isSingle: Bool { runs.count == 1 }

  var html: String {
    var page = Page(title: input == "-" ? "model" : input.split(separator: "/").last.map(String.init) ?? input, lead: lead)
    guard let first = runs.first else { return page.html }
    let tensors = first.outcome.tensors
    page.tiles = isSingle ? tiles(first) : []
    page.notes = notes
    let chosen = runs.compactMap { run in CurvePoint(run.outcome.totals, label: isSingle ? "this plan" : run.label) }
    if !isSingle { page.sections.append(("results", "Results", results)) }
    if let curve {
      page.add(SizeLossFigure(curve: curve, chosen: chosen, rivals: rivals, lossName: first.outcome.totals.loss).figure)
    }
    page.add(
      LossFigure(runs.map { ($0.label, $0.outcome.totals, $0.outcome.tensors) }, secondOrder: geometry?.secondOrderLoss ?? .nan)
        .figure)
    page.add(AgreementFigure(runs: runs.compactMap { run in run.agreement.map { (run.label, $0) } }).figure)
    if isSingle { page.add(WeightShareFigure(tensors: tensors).figure) }
    page.add(DepthFigure(runs: runs.map { ($0.label, $0.outcome.tensors) }).figure)
    page.add(TheoryFigure(tensors).figures)
    if let geometry {
      page.add(SpectrumFigure(geometry: geometry).figures)
      page.add(EigenpairsFigure(geometry: geometry).figure)
      let titles = Dictionary(tensors.map { ($0.name, $0.title) }, uniquingKeysWith: { $1 })
      page.add(InteractionFigure(geometry: geometry, titles: titles).figure)
    }
    page.sections.append(("tensors", "Tensors", TensorTable(runs: runs.map { ($0.label, $0.outcome) }).html))
    let activations = ActivationTable(runs: runs.map { ($0.label, $0.outcome.activations) }).html
    if !activations.isEmpty { page.sections.append(("activations", "Activations", activations)) }
    let table = SensitivityTable(tensors: tensors).html
    if !table.isEmpty { page.sections.append(("sensitivity", "Sensitivity table", table)) }
    page.facts = facts(first)
    return page.html
  }

  private var lead: String {
    guard isSingle, let totals = runs.first?.outcome.totals else {
      return "\(runs.count) plans of one table of losses: \(runs.map(\.label).joined(separator: ", "))."
    }
    let file = totals.fileBytes == 0 ? "" : "\(grouped(totals.modelBytes)) bytes become \(grouped(totals.fileBytes)). "
    return file + "\(grouped(totals.parameterCount)) weights have \(fixed(totals.meanBits)) bits on average, chosen by method "
      + "\(totals.method) so that the loss (\(totals.loss)) changes least."
  }

  private func tiles(_ run: Run) -> [(name: String, value: String, note: String)] {
    let totals = run.outcome.totals
    var tiles = [
      (
        name: "file", value: totals.fileBytes == 0 ? "–" : size(Double(totals.fileBytes)),
        note: "of \(size(Double(totals.modelBytes))): \(fixed(totals.ratioOfFiles))× smaller"
      ),
      (
        "bits a weight", fixed(totals.meanBits),
        "\(fixed(totals.ratio))× smaller codes, \(fixed(totals.ratioWithScales))× with scales"
      ),
      (
        "predicted loss", power(totals.predictedLossChange),
        totals.predictedInterval.low.isNaN
          ? "\(totals.loss), new samples"
          : "\(totals.loss), 95 %: \(power(totals.predictedInterval.low)) to \(power(totals.predictedInterval.high))"
      ),
    ]
    if let agreement = run.agreement, let share = agreement.comparison.outputs.compactMap(\.agreement).first {
      tiles.append(("top-1 agreement", percent(share, 1), "on \(agreement.samples)"))
    } else {
      tiles.append(("held-out loss", power(totals.heldOutLoss), "\(grouped(totals.heldOutSamples)) samples"))
    }
    return tiles
  }

  /// One row a ratio.
  private var results: String {
    let table = DataTable(
      caption: "One row for each ratio that was asked for",
      columns: ["asked", "bits a weight", "file bytes", "whole file", "predicted loss", "held out", "top-1 agreement"],
      rows: runs.map { run in
        let totals = run.outcome.totals
        let share = run.agreement?.comparison.outputs.compactMap(\.agreement).first ?? .nan
        return [
          .text(run.label), .number(fixed(totals.meanBits, 3), totals.meanBits), .bytes(totals.fileBytes),
          .number(fixed(totals.ratioOfFiles) + "×", totals.ratioOfFiles), .loss(totals.predictedLossChange),
          .loss(totals.heldOutLoss),
          .number(percent(share, 1), share),
        ]
      })
    return "<section id=\"results\" aria-labelledby=\"results-title\"><h2 id=\"results-title\">Results</h2>\(table.html)</section>"
  }

  private func facts(_ run: Run) -> [(name: String, value: String)] {
    let totals = run.outcome.totals
    var facts = [(name: "command line", value: Page.commandLine)] + run.outcome.summary.filter { !$0.name.isEmpty }
    facts += [
      (
        "held out",
        fixed(Double(totals.heldOutSamples), 0) + " samples, " + scientific(totals.heldOutLoss) + totals.heldOutInterval.text
      ),
      ("samples", grouped(totals.samples)), ("seed", String(totals.seed)), ("library", "libcet \(totals.libraryVersion)"),
      ("model SHA-256", totals.modelSHA256),
    ]
    facts += runs.compactMap { run in run.outcome.written?.sha256.map { ("written file SHA-256" + (run.label.isEmpty ? "" : ", \(run.label)"), $0) }
    }
    if let digest = PlanDocument(run.outcome.planDocument)?.judgement?.calibration {
      facts.append(("samples' fingerprint", digest))
    }
    if let geometry {
      facts.append(
        (
          "curvature",
          "\(grouped(geometry.samples)) samples, \(geometry.pairs.count) eigenpairs, 16 and 4 random vectors for trace and density"
        ))
    }
    return facts
  }
}
