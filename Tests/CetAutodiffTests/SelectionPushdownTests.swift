import CetGraph
import CetOperators
import CetTensor
import Testing

@testable import CetAutodiff

/// Rows of every product of matrices on the way to the outputs.
private func productRows(_ program: Program, _ outputs: [Value]) -> [Int] {
  program.steps(for: outputs).compactMap { index in
    let step = program.steps[index]
    return step.primitive is MatrixProduct ? program.values[step.outputs[0]].shape[0] : nil
  }
}

@Suite struct SelectionPushdownTests {
  @Test(arguments: [([0], 1), ([-1], 1), ([3, 0, 3], 2), (Array(0..<39), 39), (Array(0..<40), 40)] as [([Int64], Int)])
  func rows_thatNobodyReads_areNotComputed(_ indices: [Int64], _ count: Int) throws {
    var tokens = try Tokens()
    try tokens.take(indices, as: "z")
    let bound = try tokens.program()
    let whole = try bound.values(["z"])
    let part = try bound.outputs(["z"])
    #expect(productRows(bound.program, whole) == [80, 80])
    #expect(productRows(bound.program, part) == [2 * count, 2 * count])
    let results = try [whole, part].map { try StagedProgram(bound.program, outputs: $0).run(tokens.feeds(bound), ComputeContext())[0] }
    #expect(results[0].shape == results[1].shape)
    for (a, b) in zip(try results[0].array(as: Float.self), try results[1].array(as: Float.self)) { #expect(abs(a - b) < 1e-6) }
  }

  @Test func selections_ofOneValue_areMadeOfTheirUnion() throws {
    var tokens = try Tokens()
    try tokens.take([5], as: "u")
    try tokens.take([5, 1], as: "v")
    let bound = try tokens.program()
    let outputs = try bound.outputs(["u", "v"])
    #expect(productRows(bound.program, outputs) == [4, 4])
    let whole = try bound.values(["u", "v"])
    let results = try [whole, outputs].map { try StagedProgram(bound.program, outputs: $0).run(tokens.feeds(bound), ComputeContext()) }
    for (a, b) in zip(results[0], results[1]) {
      for (x, y) in zip(try a.array(as: Float.self), try b.array(as: Float.self)) { #expect(abs(x - y) < 1e-6) }
    }
  }

  @Test func value_thatIsReadWhole_isLeftAlone() throws {
    var tokens = try Tokens()
    try tokens.take([0], as: "z")
    let bound = try tokens.program()
    let asked = try bound.values(["z", "y"])
    #expect(try bound.outputs(["z", "y"]) == asked)
  }
}
