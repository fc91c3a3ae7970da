import CetTensor
import Testing

@testable import Cet

@Suite struct NamedChoiceTests {
  @Test func choices_keepWinsOverFixAndLastFixOverFirst() throws {
    var options = PlanOptions(target: .ratio(8))
    options.fix = [.init(pattern: "*", bits: 4), .init(pattern: "b", bits: 8)]
    options.keep = ["c"]
    #expect(
      try options.choices(for: ["a", "b", "c"])
        == [.fixed(bits: 4, pattern: "*"), .fixed(bits: 8, pattern: "b"), .kept(pattern: "c")])
  }

  @Test func choices_patternWithoutAMatch_isRefusedWithItsText() {
    var options = PlanOptions(target: .ratio(8))
    options.keep = ["convl*"]
    do {
      _ = try options.choices(for: ["conv1.weight"])
      Issue.record("accepted")
    } catch {
      #expect(error.message.contains("'convl*'") && error.message.contains("'conv1.weight'"))
    }
  }
}
