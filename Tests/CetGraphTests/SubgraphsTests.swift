import CetTensor
import Testing

@testable import CetGraph

@Suite struct SubgraphsTests {
  private func node(_ type: String, _ input: String, _ output: String) -> Node { Node(type, inputs: [input], outputs: [output]) }

  /// An If whose else branch holds another, and a node with a list of graphs.
  private func nodes() -> [Node] {
    let inner = choice("i", then: branch([node("A", "x", "a")], gives: "a"), else: branch([node("B", "h", "b")], gives: "b"))
    let list: Attribute = .graphs([branch([node("C", "i", "c")], gives: "c"), branch([node("D", "x", "d")], gives: "outside")])
    return [
      choice("z", then: branch([node("E", "y", "e")], gives: "e"), else: branch([node("F", "f0", "h"), inner], gives: "i")),
      Node("Many", inputs: ["z"], outputs: ["m"], attributes: ["graphs": list, "axis": .int(1)]),
    ]
  }

  @Test func subgraphs_comeByAttributeName() {
    let nodes = nodes()
    #expect(nodes[0].subgraphs.map { operators($0.nodes) } == [["F", "If"], ["E"]])
    #expect(nodes[1].subgraphs.map { operators($0.nodes) } == [["C"], ["D"]])
    #expect(node("A", "x", "a").subgraphs.isEmpty)
  }

  @Test func flattened_everyNodeInFrontOfWhatItHolds() {
    #expect(operators(nodes().flattened) == ["If", "F", "If", "B", "A", "E", "Many", "C", "D"])
  }

  @Test func innerReads_reachThroughAllDepths() {
    let nodes = nodes()
    #expect(nodes[0].innerReads == ["f0", "flag", "h", "x", "i", "a", "b", "y", "e"])
    #expect(nodes[1].innerReads == ["i", "x", "c", "outside"])
  }

  @Test func mapGraphs_changesEachInOrder() {
    var seen: [String] = []
    let changed = nodes().map { node in
      node.mapGraphs { graph in
        seen += operators(graph.nodes)
        graph.nodes = graph.nodes.reversed()
      }
    }
    #expect(seen == ["F", "If", "E", "C", "D"])
    // Only the graphs of the node itself are given; what they hold is the caller's.
    #expect(operators(changed.flattened) == ["If", "If", "B", "A", "F", "E", "Many", "C", "D"])
    guard case .int(1)? = changed[1].attributes["axis"] else {
      Issue.record("another attribute changed")
      return
    }
  }

  @Test func mapGraphs_error_passesThrough() {
    #expect(throws: CetError.self) { try nodes()[0].mapGraphs { _ in throw CetError(.internal, "no") } }
  }
}
