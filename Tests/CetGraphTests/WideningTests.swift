import CetTensor
import Testing

@testable import CetGraph

@Suite struct WideningTests {
  @Test func halfPrecision_isWidenedWhereverItStands() throws {
    // 1.5 and −2 in float16.
    let values = try Tensor([1.5, -2] as [Float], shape: [2])
    let half = Initializer(name: "w", tensor: try Conversion.convert(values, to: .float16, ComputeContext()))
    let cast = Node("Cast", inputs: ["x"], outputs: ["c"], attributes: ["to": .int(Int64(ElementType.float16.rawValue))])
    let constant = Node("Constant", inputs: [], outputs: ["k"], attributes: ["value": .tensor(half)])
    let model = Model(
      graph: Graph(
        nodes: [choice("z", then: branch([cast], gives: "c", [half]), else: branch([constant], gives: "k"))],
        inputs: [ValueInfo(name: "x", type: .float16, shape: [.fixed(2)]), info("flag")], outputs: [info("z", 2)]),
      functions: [function("F", [cast])])
    #expect(model.hasHalfPrecision)
    let wide = try model.widened()
    #expect(!wide.hasHalfPrecision)
    #expect(wide.graph.inputs[0] == info("x", 2))
    let branches = wide.graph.nodes[0].subgraphs
    #expect(try branches[1].initializers[0].tensor.array(as: Float.self) == [1.5, -2])
    guard case .tensor(let value)? = branches[0].nodes[0].attributes["value"], case .int(1)? = branches[1].nodes[0].attributes["to"],
      case .int(1)? = wide.functions[0].nodes[0].attributes["to"]
    else {
      Issue.record("an attribute names 16 bits")
      return
    }
    #expect(try value.tensor.array(as: Float.self) == [1.5, -2])
  }

  @Test func otherModels_areLeftAlone() throws {
    let attributes: [String: Attribute] = ["to": .int(Int64(ElementType.float64.rawValue)), "axis": .int(10)]
    let cast = Node("Cast", inputs: ["x"], outputs: ["y"], attributes: attributes)
    let model = Model(graph: Graph(nodes: [cast], inputs: [info("x")], outputs: [info("y")]))
    #expect(!model.hasHalfPrecision)
    #expect(model.elementTypes == [.float32, .float64])
    // The number of float16 counts where an attribute names a type.
    guard case .int(10)? = try model.widened().graph.nodes[0].attributes["axis"] else {
      Issue.record("an axis changed")
      return
    }
  }
}
