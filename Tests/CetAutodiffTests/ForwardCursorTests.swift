import CetGraph
import CetTensor
import Testing

@testable import CetAutodiff

@Suite struct ForwardCursorTests {
  @Test func cursor_seesReplacementsOfLaterLayersAlone() throws {
    let (model, batch, weights) = try twoLayers()
    let context = ComputeContext()
    let route = try ForwardRoute(model, batch: batch, parameters: ["a", "b"], stops: ["h"], outputs: ["y"], context)
    let other = try twoLayers(2).weights
    let cursor = ForwardCursor(route, batch, weights: weights, context)
    let hidden = try cursor.value("h").array(as: Float.self)
    cursor.replace("b", by: try #require(other["b"]))
    let program = try ForwardProgram(model, batch: batch, parameters: ["a", "b"], outputs: ["h", "y"], context)
    let expected = try program.run(batch, weights: ["a": try #require(weights["a"]), "b": try #require(other["b"])])
    #expect(hidden == (try expected[0].array(as: Float.self)))
    #expect(try cursor.value("y").array(as: Float.self) == expected[1].array(as: Float.self))
  }

  /// The product reads what stands in front of the transpositions, so that no step reads their results.
  @Test func cursor_givesValuesThatNoLaterStepReads() throws {
    let (original, batch, weights) = try twoLayers()
    var model = original
    model.graph.nodes[2...] = [
      Node("Transpose", inputs: ["h"], outputs: ["t"]), Node("Transpose", inputs: ["t"], outputs: ["u"]),
      Node("MatMul", inputs: ["u", "b"], outputs: ["y"]),
    ]
    let context = ComputeContext()
    let route = try ForwardRoute(model, batch: batch, parameters: ["a", "b"], stops: ["t", "u", "h"], outputs: ["y"], context)
    let program = try ForwardProgram(model, batch: batch, parameters: ["a", "b"], outputs: ["t", "u", "h", "y"], context)
    let cursor = ForwardCursor(route, batch, weights: weights, context)
    for (name, expected) in zip(["t", "u", "h", "y"], try program.run(batch, weights: weights)) {
      #expect(try cursor.value(name).array(as: Float.self) == expected.array(as: Float.self))
    }
  }

  @Test func cursor_thatReplacesNothing_givesWhatAWholeRunGives() throws {
    let tokens = try Tokens()
    let weights = Dictionary(uniqueKeysWithValues: tokens.initializers.map { ($0.name, $0.tensor) })
    let (names, context) = (["x", "m", "g", "l", "s", "y"], ComputeContext())
    let route = try ForwardRoute(
      tokens.model, batch: tokens.batch, parameters: ["a", "b"], stops: ["x", "l", "m", "s"], outputs: ["g", "y"], context)
    let program = try ForwardProgram(tokens.model, batch: tokens.batch, parameters: ["a", "b"], outputs: names, context)
    let expected = Dictionary(uniqueKeysWithValues: zip(names, try program.run(tokens.batch, weights: weights)))
    let cursor = ForwardCursor(route, tokens.batch, weights: weights, context)
    #expect(cursor.passed("m") == nil && cursor.passed("x") != nil)
    for name in ["x", "l", "m", "s", "y", "g"] {
      #expect(try cursor.value(name).array(as: Float.self) == #require(expected[name]).array(as: Float.self))
    }
    // Nobody asks for it again.
    #expect(cursor.passed("m") == nil)
    #expect(throws: CetError.self) { try cursor.value("l") }
  }
}
