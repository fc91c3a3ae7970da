import Testing

@testable import CetFormats

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
}
