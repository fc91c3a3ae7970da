import CetGraph
import Testing

@testable import CetLayers

@Suite struct ClassScoresTests {
  private typealias Dimension = ValueInfo.Dimension

  private static func graph(_ nodes: [Node], shape: [Dimension]?) -> Graph {
    Graph(name: "g", nodes: nodes, initializers: [], inputs: [], outputs: [ValueInfo(name: "y", type: .float32, shape: shape)])
  }

  private static let vector: [Dimension] = [.symbolic("n"), .fixed(10)]
  private static let pooled: [Dimension] = [.symbolic("n"), .fixed(10), .fixed(1), .fixed(1)]

  @Test func pooling_scoresHavePositions() {
    let nodes = [Node("GlobalAveragePool", inputs: ["x"], outputs: ["y"])]
    let open: [Dimension] = [.symbolic("n"), .unknown, .symbolic("h"), .symbolic("w")]
    for shape in [Self.pooled, open, nil] {
      #expect(ClassScores(behind: "y", Self.graph(nodes, shape: shape)) == ClassScores(value: "y", hasPositions: true))
    }
  }

  @Test func softmaxOfPooling_scoresAreThePooled() {
    let nodes = [
      Node("GlobalAveragePool", inputs: ["x"], outputs: ["p"]), Node("Softmax", inputs: ["p"], outputs: ["s"]),
      Node("Flatten", inputs: ["s"], outputs: ["y"]),
    ]
    #expect(ClassScores(behind: "y", Self.graph(nodes, shape: Self.vector)) == ClassScores(value: "p", hasPositions: true))
  }

  @Test func flattenedPooling_scoresAreTheOutput() {
    let nodes = [
      Node("GlobalAveragePool", inputs: ["x"], outputs: ["p"]), Node("Flatten", inputs: ["p"], outputs: ["y"]),
    ]
    #expect(ClassScores(behind: "y", Self.graph(nodes, shape: nil)) == ClassScores(value: "y", hasPositions: false))
  }

  @Test func reshapedLinearLayer_scoresHavePositions() {
    let nodes = [
      Node("Gemm", inputs: ["x", "w"], outputs: ["p"]), Node("Reshape", inputs: ["p", "shape"], outputs: ["y"]),
    ]
    #expect(ClassScores(behind: "y", Self.graph(nodes, shape: Self.pooled)) == ClassScores(value: "y", hasPositions: true))
    #expect(ClassScores(behind: "y", Self.graph(nodes, shape: Self.vector)) == ClassScores(value: "y", hasPositions: false))
  }

  @Test func softmaxInParts_scoresAreWhatIsExponentiated() {
    let nodes = [
      Node("Sub", inputs: ["z", "m"], outputs: ["d"]), Node("Exp", inputs: ["d"], outputs: ["e"]),
      Node("ReduceSum", inputs: ["e", "axes"], outputs: ["t"]), Node("Expand", inputs: ["t", "shape"], outputs: ["b"]),
      Node("Div", inputs: ["e", "b"], outputs: ["y"]),
    ]
    #expect(ClassScores(behind: "y", Self.graph(nodes, shape: Self.vector)) == ClassScores(value: "d", hasPositions: false))
    var other = nodes
    other[2] = Node("ReduceSum", inputs: ["d", "axes"], outputs: ["t"])
    #expect(ClassScores(behind: "y", Self.graph(other, shape: Self.vector)) == nil)
  }

  @Test func maps_areNoScores() {
    let nodes = [Node("Conv", inputs: ["x", "w"], outputs: ["y"])]
    #expect(ClassScores(behind: "y", Self.graph(nodes, shape: nil)) == nil)
    #expect(
      ClassScores(behind: "y", Self.graph(nodes, shape: [.symbolic("n"), .fixed(10), .fixed(7), .fixed(7)])) == nil)
    #expect(
      ClassScores(behind: "y", Self.graph(nodes, shape: [.symbolic("n"), .fixed(10), .symbolic("h"), .unknown])) == nil)
    #expect(ClassScores(behind: "y", Self.graph(nodes, shape: [.symbolic("n"), .fixed(1)])) == nil)
  }
}
