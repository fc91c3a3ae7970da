import CetTensor
import Testing

@testable import Cet

@Suite struct NamePatternTests {
  @Test(arguments: [
    ("conv1.weight", "conv1.weight", true), ("conv1.weight", "conv1.weights", false), ("*", "", true), ("*", "a/b", true),
    ("?", "", false), ("?", "é", true), ("conv*", "conv", true), ("*.weight", "layer1.0.weight", true),
    ("layer?.*.weight", "layer1.0.conv.weight", true), ("layer?.*", "layer12.0", false), ("a*b*c", "aXbYbZc", true),
    ("a*b*c", "aXbYbZ", false), ("**", "x", true), ("[ab]", "a", false), ("[ab]", "[ab]", true), ("", "", true), ("", "a", false),
    ("a.c", "abc", false),
  ])
  func pattern_name_matchesAsWritten(_ pattern: String, _ name: String, _ expected: Bool) {
    #expect(NamePattern(pattern).matches(name) == expected)
  }

  @Test func pattern_manyStars_staysFast() {
    let pattern = NamePattern(String(repeating: "*a", count: 30) + "b")
    #expect(!pattern.matches(String(repeating: "a", count: 5000)))
  }

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
      let message = (error as? CetError)?.message ?? ""
      #expect(message.contains("'convl*'") && message.contains("'conv1.weight'"))
    }
  }
}
