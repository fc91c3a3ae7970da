import CetGraph
import CetQuantize
import CetTensor
import Testing

@testable import func Cet.forward
@testable import CetEncode

/// The unpacking nodes against `QuantizedTensor.dequantized`, bit for bit, in the library's executor. ONNX Runtime
/// judges whole files in Tests/python.
@Suite struct PlaneEncodingTests {
  private static func tensor(shape: [Int], bits: Int, axis: Int?, blockSize: Int = 0, seed: UInt64 = 1) throws -> QuantizedTensor {
    var random = Random(seed: seed)
    let rows = axis.map { shape[$0] } ?? 1
    let columns = shape.elementCount / rows
    let grid = blockSize > 0 ? rows * ((columns + blockSize - 1) / blockSize) : rows
    let form = try QuantizedForm(name: "w", shape: shape, bits: bits, axis: axis, blockSize: blockSize)
    return try QuantizedTensor(
      form, codes: (0..<shape.elementCount).map { _ in UInt8(random.next() % (1 << UInt64(bits))) },
      scales: (0..<grid).map { _ in Float(0.01 + random.uniform()) },
      zeroPoints: (0..<grid).map { _ in UInt8(random.next() % (1 << UInt64(bits))) })
  }

  private static func unpacked(_ tensor: QuantizedTensor, opset: Int) throws -> [Float] {
    let output = ValueInfo(name: "w", type: .float32, shape: nil)
    var model = Model(opsets: ["": opset], graph: Graph(outputs: [output]))
    var planes = PlaneEncoding(opset: model.opset, names: NameScope(model))
    _ = try planes.add(WrittenWeight(tensor))
    model.graph.nodes = planes.nodes
    model.graph.initializers = planes.initializers
    return try forward(model, inputs: [])[0].tensor.array(as: Float.self)
  }

  @Test(arguments: 1...8, [7, 9, 10, 13, 17, 21])
  func unpacking_givesTheDequantizedWeights(_ bits: Int, _ opset: Int) throws {
    for shape in [[4, 3, 3, 3], [5, 7], [16, 8], [1, 1]] {
      for axis in [nil, 0, 1] as [Int?] {
        let tensor = try Self.tensor(shape: shape, bits: bits, axis: axis)
        #expect(try Self.unpacked(tensor, opset: opset) == tensor.dequantized())
      }
    }
  }

  @Test(arguments: [2, 3], [0, 1, 2]) func blocks_mayBeRaggedOnAnyAxis(_ bits: Int, _ axis: Int) throws {
    for size in [1, 4, 5, 64] {
      let tensor = try Self.tensor(shape: [6, 4, 5], bits: bits, axis: axis, blockSize: size)
      #expect(try Self.unpacked(tensor, opset: 13) == tensor.dequantized())
    }
  }

  @Test func names_stayClearOfTheGraph() throws {
    let node = Node("Identity", inputs: ["x"], outputs: ["cet.1"])
    let model = Model(graph: Graph(nodes: [node]))
    var planes = PlaneEncoding(opset: model.opset, names: NameScope(model))
    _ = try planes.add(WrittenWeight(Self.tensor(shape: [2, 2], bits: 2, axis: 0)))
    #expect(planes.nodes.allSatisfy { !$0.outputs.contains("cet.1") })
  }
}
