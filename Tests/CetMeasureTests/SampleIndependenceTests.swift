import CetAutodiff
import CetGraph
import CetTensor
import Testing

@testable import CetMeasure

/// What is found out about three samples of five numbers.
private func found(
  _ nodes: [Node], _ initializers: [Initializer] = [], loss: LossKind = .mse, isFixed: Bool = false
) throws -> String {
  let bound = try boundModel(nodes, initializers, loss: loss)
  switch try SampleIndependence(bound, batch(["x": drawn(3, 5, seed: 1)]), isFixed: isFixed) {
  case .independent: return "independent"
  case .inThisSize(let node): return "in this size: \(node)"
  case .alone(let node): return "alone: \(node)"
  case .never(let node, let output): return "never: \(node) \(output ?? [])"
  }
}


@Suite struct SampleIndependenceTests {
  /// x less its mean over the batch.
  private let centring = [
    Node("Relu", inputs: ["x"], outputs: ["r"]),
    Node("ReduceMean", inputs: ["r"], outputs: ["mean"], attributes: ["axes": .ints([0])]),
    Node("Sub", inputs: ["r", "mean"], outputs: ["y"]),
  ]

  @Test func products_areIndependent() throws {
    #expect(try found([Node("MatMul", inputs: ["x", "w"], outputs: ["y"])], [weight("w", 5, 2, seed: 2)]) == "independent")
  }

  @Test func meanOverTheBatch_isNamed() throws {
    let text = try found(centring)
    #expect(text.hasPrefix("alone: node '") && text.hasSuffix("(ReduceMean)"))
  }

  @Test func batchOfFixedSize_staysTogether() throws {
    #expect(try found(centring, isFixed: true).hasPrefix("in this size: "))
  }

  @Test func sumOverTheBatch_hasNoLossOfASample_unlessTheLossIsThatSum() throws {
    let sum = [Node("ReduceSum", inputs: ["x", "axis"], outputs: ["y"], attributes: ["keepdims": .int(0)])]
    let axis = Initializer(name: "axis", tensor: try Tensor([0] as [Int64], shape: [1]))
    #expect(try found(sum, [axis]).hasPrefix("never: "))
    #expect(try found(sum, [axis], loss: .output) == "independent")
  }
}
