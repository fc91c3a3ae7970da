import CetTensor
import Testing

@testable import Cet

/// What each method chooses by a table that is made by hand, and what it says of it.
@Suite struct MethodTests {
  private static func draft(_ method: Method, _ target: Target = .ratio(10)) throws -> PlanDraft {
    let model = try LoadedModel(path: "\(fixtures)/digits_cnn/model.onnx")
    var options = PlanOptions(target: target)
    options.method = method
    return try PlanDraft(model, options, reached: Set(model.found.layers.indices))
  }

  /// Losses that fall with bits, and one layer that loses most.
  private static func losses(_ draft: PlanDraft, dearest: Int) -> [[Int: Double]] {
    draft.widths.enumerated().map { index, widths in
      Dictionary(uniqueKeysWithValues: widths.map { ($0, (index == dearest ? 1000 : 1 + 0.1 * Double(index)) / Double($0 * $0)) })
    }
  }

  private static func plan(_ draft: PlanDraft, _ table: LossTable) throws -> CompressionPlan {
    try draft.plan(table, loss: .kl, samples: 8)
  }

  /// The least loss of all assignments whose code bits fit.
  private static func leastLoss(_ draft: PlanDraft, _ losses: [[Int: Double]]) -> Double {
    var best = Double.infinity
    func visit(_ index: Int, _ loss: Double, _ bits: Int) {
      guard bits <= draft.codeBitBudget ?? 0, loss < best else { return }
      guard index < draft.layers.count else { return best = loss }
      for width in draft.widths[index] {
        visit(index + 1, loss + (losses[index][width] ?? 0), bits + draft.layers[index].count * width)
      }
    }
    visit(0, 0, 0)
    return best
  }

  @Test(arguments: [Method.cet, .hawqV2, .mckp]) func lossesOfLayers_theBestAssignmentIsChosen(_ method: Method) throws {
    let draft = try Self.draft(method)
    let losses = Self.losses(draft, dearest: 1)
    var table = LossTable(count: losses.count)
    if method == .cet { table.judged = losses } else { table.curvature = losses }
    let plan = try Self.plan(draft, table)
    #expect(plan.ratio >= 10)
    let found = try #require(plan.tableLoss)
    #expect(abs(found - Self.leastLoss(draft, losses)) <= 1e-12 * found)
    for (index, tensor) in plan.tensors.enumerated() {
      let next = draft.widths[index].first { $0 > tensor.bits }
      #expect(
        tensor.reason
          == (next.map { "\($0) bits would save less loss per byte than elsewhere" }
            ?? "the most bits allowed: cheapest loss per byte"))
      #expect((tensor.lossPerByte == nil) == (next == nil))
    }
  }

  @Test func measuredLosses_goBeforeThoseFromCurvature() throws {
    let draft = try Self.draft(.cet)
    var table = LossTable(count: draft.layers.count)
    table.judged = Self.losses(draft, dearest: 0)
    table.curvature = Self.losses(draft, dearest: 2)
    let plan = try Self.plan(draft, table)
    #expect(plan.tensors.map(\.sensitivity) == table.judged)
    #expect(plan.tensors.map(\.curvatureLoss) == table.curvature)
  }

  @Test func uniform_takesTheMostBitsThatFit() throws {
    let draft = try Self.draft(.uniform)
    let plan = try Self.plan(draft, LossTable(count: draft.layers.count))
    #expect(plan.tensors.allSatisfy { $0.bits == 3 && $0.reason == "the same bits everywhere" })
    let four = try Self.draft(.uniform, .bits(4))
    #expect(try Self.plan(four, LossTable(count: draft.layers.count)).tensors.allSatisfy { $0.bits == 4 })
    let size = try Self.draft(.uniform, .size(plan.fileBytes))
    #expect(try Self.plan(size, LossTable(count: draft.layers.count)).tensors.allSatisfy { $0.bits == 3 })
  }

  @Test(arguments: [Method.uniform, .paper, .clado]) func withoutLosses_maximumLossIsNoTarget(_ method: Method) throws {
    let draft = try Self.draft(method, .maximumLoss(0.1))
    let error = #expect(throws: CetError.self) {
      _ = method == .uniform
        ? try UniformMethod.choice(draft, LossTable(count: 0), losses: [], limit: nil)
        : try draft.underTarget { _, _ in BitChoice(bits: []) }
    }
    #expect(error?.message == "method '\(method.rawValue)' measures no losses, so max_loss cannot be its target")
  }

  @Test(arguments: [Method.paper, .clado]) func chosenBits_standAsTheyAre(_ method: Method) throws {
    let draft = try Self.draft(method)
    var table = LossTable(count: draft.layers.count)
    #expect(throws: CetError.self) { try Self.plan(draft, table) }
    let bits = draft.layers.indices.map { $0 % 2 == 0 ? 2 : 4 }
    table.chosen = BitChoice(bits: bits)
    let plan = try Self.plan(draft, table)
    #expect(plan.tensors.map(\.bits) == bits)
    #expect(Set(plan.tensors.map(\.reason)).count == 1)
    #expect(plan.tensors.allSatisfy { $0.lossPerByte == nil })
  }

  @Test func formulas_smallValues_asPublished() {
    #expect(HessianTraceMethod.loss(trace: 8, weights: 4, squaredError: 0.5) == 1)
    #expect(HessianTraceMethod.loss(trace: -8, weights: 4, squaredError: 0.5) == 0)
    #expect(FisherMethod.loss(gradientDots: [1, 3]) == 2.5)
  }

  @Test func words_standInTheHeadersOrder() {
    #expect(Method.allCases.map(\.rawValue) == ["cet", "paper", "hawq-v2", "mckp", "uniform", "clado"])
  }
}
