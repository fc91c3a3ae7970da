import CetTensor
import Testing

@testable import CetAutodiff

@Suite struct InfluenceProgramTests {
  @Test func rows_behindAMask_haveNoInfluence() throws {
    let (model, batch, _) = try pooled()
    let program = try InfluenceProgram(model, batch: batch, values: ["m", "y"], output: "y", ComputeContext())
    let sums = try program.rowSums(batch, seed: 1)
    let rows = try #require(sums[0])
    #expect(rows.map { $0 > 0 } == [true, true, false, true, false, false])
    // One row a sample: nothing to ask.
    #expect(sums[1] == nil)
  }
}
