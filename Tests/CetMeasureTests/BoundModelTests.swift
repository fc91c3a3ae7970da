import CetAutodiff
import CetGraph
import CetLayers
import CetTensor
import Testing

@testable import CetMeasure

@Suite struct BoundModelTests {
  @Test func addableBiases_areInPlaceAsZeros() throws {
    let bound = try boundModel([Node("Conv", inputs: ["x", "w"], outputs: ["y"])], [weight("w", 2, 1, 1, 1, seed: 1)])
    let name = try #require(bound.biasNames[0])
    #expect(bound.weights.keys.sorted() == ["w", name].sorted())
    #expect(try bound.biasValues(0) == [0, 0])
    let data = try batch(["x": drawn(1, 1, 2, 2, seed: 2)])
    let changed = bound.weights.merging([name: try Tensor([1, -1] as [Float], shape: [2])]) { $1 }
    let program = try bound.programs.forward(data, outputs: ["y"])
    let before = try program.run(data, weights: bound.weights)[0].rowMajor()
    let after = try program.run(data, weights: changed)[0].rowMajor()
    for i in 0..<8 { #expect(abs(after.floats[i] - before.floats[i] - (i < 4 ? 1 : -1)) < 1e-6) }
  }

  @Test func biasFreeLayers_getNone() throws {
    let model = Model(
      opsets: ["": 17],
      graph: Graph(
        nodes: [Node("Conv", inputs: ["x", "w"], outputs: ["y"])], initializers: [try weight("w", 2, 1, 1, 1, seed: 1)],
        inputs: [value("x")], outputs: [value("y")]))
    let bound = try BoundModel(
      LinearLayers(model), output: "y", loss: .mse, biasFree: [0], workers: Workers(threads: 1), context: ComputeContext())
    #expect(bound.biasNames == [nil] && bound.weights.keys.sorted() == ["w"])
    #expect(try bound.biasValues(0) == nil)
  }

  @Test func routes_ofOneShapeAndTheSameStops_areMadeOnce() throws {
    let nodes = [Node("MatMul", inputs: ["x", "w"], outputs: ["h"]), Node("Relu", inputs: ["h"], outputs: ["y"])]
    let bound = try boundModel(nodes, [weight("w", 3, 3, seed: 1)])
    func route(_ rows: Int, _ stops: [String], seed: UInt64) throws -> ForwardRoute {
      try bound.programs.route(batch(["x": drawn(rows, 3, seed: seed)]), stops: stops, outputs: ["y"])
    }
    let first = try route(2, ["h"], seed: 2)
    #expect(try route(2, ["h"], seed: 3) === first)
    #expect(try route(4, ["h"], seed: 3) !== first && route(2, ["x", "h"], seed: 2) !== first)
  }

  @Test func layersThatTheOutputDoesNotRead_areNotReached() throws {
    let nodes = [
      Node("MatMul", inputs: ["x", "w"], outputs: ["side"]), Node("MatMul", inputs: ["x", "v"], outputs: ["y"]),
    ]
    let bound = try boundModel(nodes, [weight("w", 3, 3, seed: 1), weight("v", 3, 3, seed: 2)])
    let data = try batch(["x": drawn(2, 3, seed: 3)])
    let reached = try bound.reached(data)
    #expect(reached.map { bound.layers[$0].name } == ["v"])
    #expect(try bound.observable([0, 1], all([data])) == reached.sorted())
  }

  /// What is measured are the values that the file will hold.
  @Test func replacements_haveTheFilesType() throws {
    let tensor = try Conversion.convert(drawn(3, 2, seed: 1), to: .float16, ComputeContext())
    let cast = Node("Cast", inputs: ["w"], outputs: ["c"], attributes: ["to": .int(1)])
    let bound = try boundModel(
      [cast, Node("MatMul", inputs: ["x", "c"], outputs: ["y"])], [Initializer(name: "w", tensor: tensor)])
    let layer = try #require(bound.layers.first)
    #expect(layer.elementType == .float16)
    let quantized = try nearest(bound, bits: [5])[0][0]
    let values = try #require(try bound.replacement(0, quantized)[layer.name]).array(as: Float.self)
    #expect(values == quantized.tensor.dequantized().map { Float(Float16($0)) })
  }
}
