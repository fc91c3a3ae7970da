import CetGraph
import CetOperators
import CetTensor
import Testing

@testable import CetLayers

@Suite struct RowOriginsTests {
  private func origins(_ nodes: [Node], _ initializers: [Initializer], of operand: String) -> [String]? {
    let index = GraphIndex(model(nodes, initializers).graph)
    return RowOrigins(of: operand, index)?.rows.map { "\($0.constant)\($0.row)" }
  }

  private func slice(_ input: String, _ output: String, _ from: Int64, _ to: Int64, axis: Int64 = 0) -> Node {
    Node("Slice", inputs: [input], outputs: [output], attributes: ["starts": .ints([from]), "ends": .ints([to]), "axes": .ints([axis])])
  }

  private func concat(_ inputs: [String], _ output: String, axis: Int64) -> Node {
    Node("Concat", inputs: inputs, outputs: [output], attributes: ["axis": .int(axis)])
  }

  @Test func constant_isItsOwnOrigin() throws {
    let index = GraphIndex(model([], [try weight("u", 2, 3, 4), try weight("v", 4)]).graph)
    let found = try #require(RowOrigins(of: "u", index))
    #expect(found.shape == [2, 3] && found.rows.map(\.row) == [0, 1, 2, 3, 4, 5] && found.nodes.isEmpty)
    // A vector has no rows.
    #expect(RowOrigins(of: "v", index) == nil && RowOrigins(of: "x", index) == nil)
  }

  @Test func gatesInAnotherOrder_keepTheirRows() throws {
    let nodes = [slice("u", "a", 0, 1), slice("u", "b", -1, 99), slice("u", "c", 1, -1), concat(["b", "a", "c"], "w", axis: -2)]
    #expect(origins(nodes, [try weight("u", 4, 2)], of: "w") == ["u3", "u0", "u1", "u2"])
  }

  @Test func directionsSideBySide_interleave() throws {
    // [2, 1, K] and [2, 2, K] along axis 1.
    let nodes = [
      Node("Unsqueeze", inputs: ["u"], outputs: ["a"], attributes: ["axes": .ints([1])]), concat(["a", "v"], "w", axis: 1),
    ]
    #expect(origins(nodes, [try weight("u", 2, 5), try weight("v", 2, 2, 5)], of: "w") == ["u0", "v0", "v1", "u1", "v2", "v3"])
  }

  @Test func sliceOfAnInnerAxis_picksFromEachBlock() throws {
    let nodes = [slice("u", "w", 1, 3, axis: -2)]
    #expect(origins(nodes, [try weight("u", 2, 3, 4)], of: "w") == ["u1", "u2", "u4", "u5"])
  }

  @Test func laterOperatorSets_giveNumbersAsInputs() throws {
    let nodes = [
      Node("Slice", inputs: ["u", "from", "to", "axes"], outputs: ["a"]), Node("Unsqueeze", inputs: ["a", "axes"], outputs: ["w"]),
    ]
    let initializers = [try weight("u", 3, 2), try integers("from", 1), try integers("to", 3), try integers("axes", 0)]
    let found = try #require(RowOrigins(of: "w", GraphIndex(model(nodes, initializers).graph)))
    #expect(found.shape == [1, 2] && found.rows.map(\.row) == [1, 2] && found.nodes == [0, 1])
  }

  @Test func otherWays_areNotFollowed() throws {
    let u = try weight("u", 4, 4)
    #expect(origins([Node("Transpose", inputs: ["u"], outputs: ["w"])], [u], of: "w") == nil)
    #expect(origins([slice("u", "w", 0, 2, axis: 1)], [u], of: "w") == nil)  // the last axis stays whole
    #expect(origins([concat(["u", "x"], "w", axis: 0)], [u], of: "w") == nil)
    #expect(origins([concat(["u", "v"], "w", axis: 0)], [u, try weight("v", 2, 2, 4)], of: "w") == nil)
    let steps: [String: Attribute] = ["starts": .ints([0]), "ends": .ints([4]), "axes": .ints([0]), "steps": .ints([2])]
    let stepped = Node("Slice", inputs: ["u"], outputs: ["w"], attributes: steps)
    #expect(origins([stepped], [u], of: "w") == nil)
  }

  // MARK: Recurrent weights

  /// A GRU whose recurrent weight [1, 6, 2] is joined from the rows of "u" in the order given.
  private func kind(_ pieces: [(Int64, Int64)], further: [Node] = []) throws -> LinearLayer.Kind? {
    var nodes = pieces.enumerated().map { slice("u", "p\($0)", $1.0, $1.1, axis: 1) }
    nodes.append(concat(pieces.indices.map { "p\($0)" }, "r", axis: 1))
    nodes.append(Node("GRU", inputs: ["x", "w", "r"], outputs: ["y"], attributes: ["hidden_size": .int(2)]))
    let index = GraphIndex(model(further + nodes, [try weight("u", 1, 6, 2), try weight("w", 1, 6, 3)]).graph)
    let place = try #require(index.producer(of: "y"))
    return RowOrigins(of: "r", index).flatMap { RecurrentRows.kind("u", [1, 6, 2], $0, place: place, slot: 2, index) }
  }

  @Test func recurrentRows_wholeGatesInAnotherOrder_areGroups() throws {
    let node = Node("GRU", inputs: [], outputs: ["y"])
    let (states, reset) = (recurrentStates(node, direction: 0, gate: 0), recurrentStates(node, direction: 0, gate: 2))
    // The file's last two rows are the first gate, its first two the second, those between them the third.
    #expect(try kind([(4, 6), (0, 2), (2, 4)]) == .blocks([[states], [reset], [states]]))
    #expect(try kind([(0, 2), (2, 4), (4, 6)]) == .blocks([[states], [states], [reset]]))
  }

  @Test func recurrentRows_otherUses_haveNoForm() throws {
    #expect(try kind([(1, 3), (3, 5), (0, 1), (5, 6)]) == nil)  // half a gate from here and half from there
    #expect(try kind([(0, 2), (0, 2), (4, 6)]) == nil)  // rows that are used twice, others never
    #expect(try kind([(0, 2), (2, 4), (4, 6)], further: [Node("Neg", inputs: ["u"], outputs: ["n"])]) == nil)  // somebody else reads it
  }
}
