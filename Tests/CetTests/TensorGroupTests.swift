import CetAllocate
import CetGraph
import CetONNX
import CetTensor
import Testing

@testable import Cet

/// Tensors that get the same bits.
@Suite struct TensorGroupTests {
  /// Query, key and value of one value, one more product of what they make, and a Gemm of the same value.
  private static func model() throws -> LoadedModel {
    var random = Random(seed: 3)
    func weight(_ name: String, _ rows: Int, _ columns: Int) throws -> Initializer {
      Initializer(name: name, tensor: try Tensor((0..<rows * columns).map { _ in Float(random.normal()) }, shape: [rows, columns]))
    }
    let graph = Graph(
      name: "g",
      nodes: [
        Node("MatMul", inputs: ["x", "q"], outputs: ["xq"]), Node("MatMul", inputs: ["x", "k"], outputs: ["xk"]),
        Node("MatMul", inputs: ["x", "v"], outputs: ["xv"]), Node("Gemm", inputs: ["x", "g"], outputs: ["xg"]),
        Node("Sum", inputs: ["xq", "xk", "xv", "xg"], outputs: ["s"]), Node("MatMul", inputs: ["s", "o"], outputs: ["y"]),
      ],
      initializers: try ["q", "k", "v", "g", "o"].map { try weight($0, 8, 8) },
      inputs: [ValueInfo(name: "x", type: .float32, shape: [.symbolic("N"), .fixed(8)])],
      outputs: [ValueInfo(name: "y", type: .float32, shape: nil)])
    return try ModelWriter.write(Model(graph: graph)).withUnsafeBytes { try LoadedModel(bytes: $0) }
  }

  private static func draft(_ group: [String], _ change: (inout PlanOptions) -> Void = { _ in }) throws -> PlanDraft {
    let model = try model()
    var options = PlanOptions(target: .bits(4))
    options.bits = [2, 3, 4, 8]
    options.group = group
    change(&options)
    return try PlanDraft(model, options, reached: Set(model.found.layers.indices))
  }

  /// Losses in which each of q, k and v would like bits of its own.
  private static func table(_ draft: PlanDraft) -> LossTable {
    var table = LossTable(count: draft.layers.count)
    table.judged = draft.layers.indices.map { index in
      Dictionary(uniqueKeysWithValues: draft.widths[index].map { ($0, [900, 1, 30, 200, 8][index] / Double($0 * $0)) })
    }
    return table
  }

  private static func bits(_ draft: PlanDraft) throws -> [Int] {
    try draft.plan(table(draft), loss: .kl, samples: 8).tensors.map(\.bits)
  }

  @Test func siblings_areProductsOfOneValueByOneOperator() throws {
    #expect(try Self.draft(["auto"]).units == [[0, 1, 2], [3], [4]])
    #expect(try Self.draft([]).units.count == 5)
  }

  @Test func groups_thatShareATensor_areOne() throws {
    #expect(try Self.draft(["q", "name:?"]).units == [[0, 1, 2, 3, 4]])
    #expect(try Self.draft(["op:Gemm", "node:x*"]).units == [[0, 1, 2, 3], [4]])
  }

  @Test func grouped_getTheSameBitsOfLeastLossTogether() throws {
    let alone = try Self.bits(Self.draft([]))
    #expect(Set(alone[0...2]).count > 1)
    let draft = try Self.draft(["auto"])
    let plan = try draft.plan(Self.table(draft), loss: .kl, samples: 8)
    let bits = plan.tensors.map(\.bits)
    #expect(Set(bits[0...2]).count == 1)
    #expect(Set(plan.tensors[0...2].map(\.lossPerByte)).count == 1)
    #expect(plan.tensors[0].reason.hasSuffix(", with 'k' and 1 more"))
    // No other assignment with equal bits loses less.
    let losses = Self.table(draft).judged
    var best = Double.infinity
    for a in [2, 3, 4, 8] {
      for g in [2, 3, 4, 8] {
        for o in [2, 3, 4, 8] where 3 * a + g + o <= 20 {
          best = min(best, [a, a, a, g, o].enumerated().reduce(0) { $0 + (losses[$1.offset][$1.element] ?? 0) })
        }
      }
    }
    #expect(abs(try #require(plan.tableLoss) - best) < 1e-12 * best)
  }

  @Test func grouped_withAFixedMember_allHaveItsBits() throws {
    let draft = try Self.draft(["auto"]) { $0.fix = [.init(pattern: "k", bits: 3)] }
    #expect(draft.widths[0...2].allSatisfy { $0 == [3] })
  }

  @Test func grouped_keptMemberIsLeftAside() throws {
    #expect(try Self.draft(["auto"]) { $0.keep = ["k"] }.units == [[0, 2], [3], [4]])
  }

  @Test func grouped_withoutBitsInCommon_isRefusedWithBothNames() {
    let error = #expect(throws: CetError.self) {
      try Self.draft(["auto"]) { $0.fix = [.init(pattern: "k", bits: 3), .init(pattern: "v", bits: 8)] }
    }
    #expect(error?.code == .invalidArgument)
    #expect(error?.message == "group: 'q' and 'v' have no allowed bits in common")
  }

  @Test func group_patternWithoutAMatch_isRefused() {
    let error = #expect(throws: CetError.self) { try Self.draft(["w*"]) }
    #expect(error?.message.contains("group pattern 'w*'") == true)
  }

  @Test(arguments: [Method.cet, .hawqV2, .mckp, .uniform, .clado]) func everyMethod_givesGroupsTheSameBits(_ method: Method) throws {
    let model = try Self.model()
    var options = PlanOptions(target: .bits(3.5))
    options.method = method
    options.loss = .mse
    options.group = ["auto"]
    var random = Random(seed: 5)
    var data = Calibration()
    try data.add(inputs: [("x", try Tensor((0..<64 * 8).map { _ in Float(random.normal()) }, shape: [64, 8]))])
    let plan = try makePlan(model, data.fitted(to: model.requiredInputs), options, Monitor())
    #expect(Set(plan.tensors[0...2].map(\.bits)).count == 1)
    #expect(plan.meanBits <= 3.5)
  }

  @Test func methodPaper_refusesGroupsInOneLine() throws {
    let model = try Self.model()
    var options = PlanOptions(target: .bits(3.5))
    options.method = .paper
    options.loss = .mse
    options.group = ["auto"]
    var data = Calibration()
    try data.add(inputs: [("x", try Tensor([Float](repeating: 0.5, count: 32), shape: [4, 8]))])
    let error = #expect(throws: CetError.self) { try makePlan(model, data.fitted(to: model.requiredInputs), options, Monitor()) }
    #expect(error?.message == "option group: method 'paper' gives every tensor bits by itself")
  }
}
