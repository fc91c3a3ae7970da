import CetTensor
import Testing

@Suite struct CetErrorTests {
  @Test func at_nodeThenNode_theFirstStays() {
    let error = CetError(.shapeMismatch, "sizes differ").at(.node("inner", "(Add)")).at(.node("outer"))
    #expect(error.message == "node 'inner' (Add): sizes differ")
    #expect(error.details == [.node: "inner"])
  }

  @Test func at_nodeAroundInitializer_messageStaysAndNodeIsKnown() {
    let error = CetError(.invalidModel, "is short").at(.initializer("w")).at(.node("n"))
    #expect(error.message == "initializer 'w': is short")
    #expect(error.details == [.initializer: "w", .node: "n"])
  }

  @Test func at_attribute_isNoPlace() {
    let error = CetError(.invalidModel, "is negative").at(.attribute("axis")).at(.node("n"))
    #expect(error.message == "node 'n': attribute 'axis': is negative")
  }

  @Test func expectedAndGot_areInTheMessageAndByThemselves() {
    let error = CetError(.invalidArgument, "option bits", expected: "1 to 8", got: "9").prefixed("plan: ")
    #expect(error.message == "plan: option bits: expected 1 to 8, got 9")
    #expect(error.details == [.expected: "1 to 8", .got: "9"])
    #expect(CetError(.invalidModel, "", expected: "a model", got: "none").message == "expected a model, got none")
  }
}
