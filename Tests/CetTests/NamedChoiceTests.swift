import CetTensor
import Testing

@testable import Cet

@Suite struct NamedChoiceTests {
  private static let tensors = [
    TensorNames("a", nodes: ["/layer/q/MatMul"], operators: ["MatMul"]), TensorNames("b", nodes: ["conv"], operators: ["Conv"]),
    TensorNames("c", nodes: ["c_node"], operators: ["Attention", "com.microsoft.Attention"]),
  ]

  @Test(arguments: [
    ("a", [0]), ("*", [0, 1, 2]), ("conv", [1]), ("c*", [1, 2]), ("name:c*", [2]), ("node:c*", [1, 2]), ("node:b", []), ("op:MatMul", [0]),
    ("op:C*", [1]), ("op:Att*", [2]), ("op:com.microsoft.*", [2]), ("MatMul", []), ("/layer/*", [0]), ("name:", []),
  ])
  func pattern_matchesInitializersNodesAndOperatorsAsItBegins(_ text: String, _ expected: [Int]) {
    let pattern = TensorPattern(text)
    #expect(Self.tensors.indices.filter { pattern.matches(Self.tensors[$0]) } == expected)
  }

  @Test func choices_keepWinsOverFixAndLastFixOverFirst() throws {
    var options = PlanOptions(target: .ratio(8))
    options.fix = [.init(pattern: "*", bits: 4), .init(pattern: "b", bits: 8)]
    options.keep = ["c"]
    #expect(
      try options.choices(for: Self.tensors) == [.fixed(bits: 4, pattern: "*"), .fixed(bits: 8, pattern: "b"), .kept(pattern: "c")])
  }

  @Test(arguments: [("convl*", "'a'"), ("op:Gemm", "'MatMul'"), ("node:x", "'/layer/q/MatMul'")])
  func choices_patternWithoutAMatch_isRefusedWithItsTextAndWhatThereIs(_ pattern: String, _ known: String) {
    var options = PlanOptions(target: .ratio(8))
    options.keep = [pattern]
    let error = #expect(throws: CetError.self) { try options.choices(for: Self.tensors) }
    #expect(error?.message.contains("'\(pattern)'") == true && error?.message.contains(known) == true)
  }

  @Test func limits_theStrictestOfSeveralRulesHolds() throws {
    var options = PlanOptions(target: .ratio(8))
    options.minBits = [.init(pattern: "*", bits: 3), .init(pattern: "op:Conv", bits: 2), .init(pattern: "a", bits: 4)]
    options.maxBits = [.init(pattern: "b", bits: 6), .init(pattern: "*", bits: 8)]
    let limits = try options.limits(for: Self.tensors)
    #expect(limits.map { $0.least?.bits } == [4, 3, 3] && limits.map { $0.most?.bits } == [8, 6, 8])
    #expect(try limits[0].widths(of: [2, 3, 4, 8], name: "a") == [4, 8])
    #expect(try limits[1].widths(of: [2, 3, 4, 8], name: "b") == [3, 4])
  }

  @Test func limits_thatLeaveNothing_areNamedWithTheTensor() {
    let limits = BitLimits(least: .init(pattern: "x*", bits: 5), most: .init(pattern: "*", bits: 6))
    let error = #expect(throws: CetError.self) { try limits.widths(of: [2, 3, 4, 8], name: "x1") }
    #expect(
      error?.message == "min_bits 'x*'=5 and max_bits '*'=6: 'x1' could have 2, 3, 4, 8 bits, none of which are left")
  }
}
