import CetTensor
import Testing

@testable import CetAutodiff

@Suite struct RowGroupTests {
  /// What one step after the other gives, of the same program.
  @Test func groupedSteps_giveTheSameBits() throws {
    let tokens = try Tokens()
    let bound = try tokens.program()
    let (y, loss, gradients) = try tokens.loss(bound)
    let (program, outputs) = (bound.program, [y, loss] + gradients)
    let steps = program.steps(for: outputs).map { Instruction.step($0) }
    var grouping = RowGrouping(program, keep: Set(outputs.map(\.id)), steps)
    let grouped = grouping.instructions()
    #expect(grouped.filter { if case .rows = $0 { true } else { false } }.count > 2)
    let results = try [steps, grouped].map { instructions in
      var values = RunValues(program, tokens.feeds(bound))
      for instruction in instructions { try instruction.run(&values, ComputeContext()) }
      return try outputs.map { try values.fetch($0.id).array(as: Float.self) }
    }
    #expect(results[0] == results[1])
  }
}
