import Glibc
import Testing

/// The official ONNX backend cases against the lists in Tests/Fixtures/conformance.
///
/// With CET_WRITE_CONFORMANCE=1 the lists are written from what the cases do (wrong results never become
/// entries: they stay failures). CET_ONNX_CASES names the folder that tools/make_node_cases.py filled.
@Suite(.serialized)
struct ConformanceTests {
  @Test func debianNodes_matchTheList() {
    check("debian-node", "/usr/share/libonnx-testdata/data/node")
  }

  @Test(arguments: ["simple", "pytorch-converted", "pytorch-operator"])
  func debianModels_matchTheList(kind: String) {
    check("debian-\(kind)", "/usr/share/libonnx-testdata/data/\(kind)")
  }

  @Test(arguments: ["node", "simple", "light"])
  func packageCases_matchTheList(kind: String) {
    guard let folder = environment("CET_ONNX_CASES") else { return }
    check("onnx-\(kind)", "\(folder)/\(kind)")
  }

  private func environment(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }

  private func check(_ list: String, _ folder: String) {
    let suite = Suite(folder: folder)
    let expectations = ExpectationList(name: list)
    let rewrite = environment("CET_WRITE_CONFORMANCE") != nil
    let only = environment("CET_CASE")
    var lines: [String] = []
    var wrong = 0
    for name in suite.caseNames where only.map({ name.contains($0) }) ?? true {
      let expected = expectations.entries[name]
      var tolerance = (relative: 1e-3, absolute: 1e-7)
      if case .tolerance(let relative, let absolute) = expected { tolerance = (relative, absolute) }
      if only != nil { print("case", name) }
      let outcome = suite.run(name, relative: tolerance.relative, absolute: tolerance.absolute)
      if rewrite {
        switch (outcome, expected) {
        case (.pass, .tolerance(let relative, let absolute)): lines.append("\(name) tolerance=\(relative),\(absolute)")
        case (.pass, _): lines.append("\(name) pass")
        case (.refused(let message), _): lines.append("\(name) unsupported(\(reason(message)))")
        case (.wrong(let what), _):
          wrong += 1
          Issue.record("\(list)/\(name): \(what)")
        }
        continue
      }
      switch (outcome, expected) {
      case (.pass, .pass), (.pass, .tolerance): break
      case (.refused(let message), .unsupported(let reason)):
        #expect(message.contains(reason), "\(list)/\(name)")
      case (.pass, .unsupported): Issue.record("\(list)/\(name) passes now: run with CET_WRITE_CONFORMANCE=1")
      case (.pass, nil): Issue.record("\(list)/\(name) is not in the list: run with CET_WRITE_CONFORMANCE=1")
      case (.refused(let message), _): Issue.record("\(list)/\(name): \(message)")
      case (.wrong(let what), _): Issue.record("\(list)/\(name): \(what)")
      }
    }
    if rewrite, only == nil, !suite.caseNames.isEmpty {
      let passed = lines.filter { !$0.contains(" unsupported(") }.count
      let head = "# \(passed) of \(suite.caseNames.count) cases pass, \(lines.count - passed) are unsupported.\n"
      ExpectationList.write(head + lines.map { $0 + "\n" }.joined(), ExpectationList.path(list))
      print("\(list): \(passed) pass, \(lines.count - passed) unsupported, \(wrong) wrong")
    }
  }

  /// The message without the model's and the node's name, which say nothing about the cause.
  private func reason(_ message: String) -> String {
    if message.hasPrefix("model '"), let end = message.range(of: "': ") { return String(message[end.upperBound...]) }
    guard message.hasPrefix("node '"), let end = message.range(of: "': ") ?? message.range(of: "): ") else { return message }
    return String(message[end.upperBound...])
  }
}

extension String {
  fileprivate func range(of text: String) -> Range<String.Index>? {
    var start = startIndex
    while start < endIndex {
      if self[start...].hasPrefix(text) { return start..<index(start, offsetBy: text.count) }
      start = index(after: start)
    }
    return nil
  }
}
