import CetGraph
import CetQuantize
import CetTensor
import Testing

@testable import func Cet.forward
@testable import CetEncode

/// The unpacking nodes against `QuantizedTensor.dequantized`, bit for bit, in the library's executor. ONNX Runtime
/// judges whole files in Tests/python.
@Suite struct PlaneEncodingTests {
  private static func tensor(
    shape: [Int], bits: Int, axis: Int?, blockSize: Int = 0, name: String = "w", coding: Coding = .affine
  ) throws -> QuantizedTensor {
    let form = try QuantizedForm(name: name, shape: shape, bits: bits, axis: axis, blockSize: blockSize, coding: coding)
    return try SampleLayers.tensor(form, seed: UInt64(name.utf8.count))
  }

  private static func unpacked(_ tensor: QuantizedTensor, opset: Int) throws -> [Float] { try unpacked([tensor], opset: opset).values[0] }

  private static func unpacked(_ tensors: [QuantizedTensor], opset: Int) throws -> (values: [[Float]], nodes: [Node]) {
    let outputs = tensors.map { ValueInfo(name: $0.name, type: .float32, shape: nil) }
    var model = Model(opsets: ["": opset], graph: Graph(outputs: outputs))
    var planes = PlaneEncoding(opset: model.opset, names: NameScope(model), runtime: nil)
    _ = try planes.add(tensors.map { WrittenWeight($0) })
    model.graph.nodes = planes.nodes
    model.graph.initializers = planes.initializers
    return (try forward(model, inputs: []).map { try $0.tensor.array(as: Float.self) }, planes.nodes)
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

  @Test(arguments: 1...6, [7, 9, 10, 13, 21])
  func trellis_givesTheDequantizedWeights(_ bits: Int, _ opset: Int) throws {
    for code in [TrellisCode.small, .large, try TrellisCode(stateBits: 6)] {
      for shape in [[4, 3, 3, 3], [5, 7], [16, 8], [1, 1], [2, 1]] {
        for axis in [0, 1] {
          for block in [0, 4, 64] {
            let tensor = try Self.tensor(shape: shape, bits: bits, axis: axis, blockSize: block, coding: .trellis(code))
            #expect(Self.agree(try Self.unpacked(tensor, opset: opset), tensor.dequantized(), exactly: tensor.walk.rotation == 1))
          }
        }
      }
    }
  }

  /// Sums of a rotation are taken in another order in a file than in the library.
  private static func agree(_ a: [Float], _ b: [Float], exactly: Bool) -> Bool {
    let largest = b.reduce(0) { max($0, abs($1)) }
    return a.count == b.count && zip(a, b).allSatisfy { abs($0 - $1) <= (exactly ? 0 : 1e-6 * largest) }
  }

  /// Tensors that differ in the length of their axis alone share one way from planes to weights.
  @Test(arguments: [Coding.affine, .trellis(.small)], [7, 13])
  func alikeTensors_areDecodedAsOne(_ coding: Coding, _ opset: Int) throws {
    for axis in [0, 1] {
      for block in [0, 4] {
        let tensors = try [3, 1, 4].enumerated().map { index, length in
          try Self.tensor(
            shape: axis == 0 ? [length, 5, 2] : [5, length, 2], bits: 3, axis: axis, blockSize: block,
            name: String(repeating: "w", count: index + 1), coding: coding)
        }
        let other = try Self.tensor(shape: [3, 5, 2], bits: 2, axis: 0, name: "other", coding: coding)
        let (values, nodes) = try Self.unpacked(tensors + [other], opset: opset)
        for (value, tensor) in zip(values, tensors + [other]) {
          #expect(Self.agree(value, tensor.dequantized(), exactly: coding == .affine || tensor.walk.rotation == 1))
        }
        let packed = nodes.count { $0.operatorType == "Cast" && $0.input(0).hasSuffix(".q") }
        #expect(nodes.count { $0.operatorType == "Split" } == 1 && packed == 2)
      }
    }
  }

  @Test func largeTensors_areDecodedAlone() throws {
    let forms = try ["a", "b"].map { try QuantizedForm(name: $0, shape: [1 << 10, 600], bits: 3, axis: 0) }
    let weights = try forms.map { WrittenWeight(try SampleLayers.tensor($0, seed: 1)) }
    #expect(PlaneEncoding.groups(weights) == [[0], [1]])
  }

  @Test func names_stayClearOfTheGraph() throws {
    let node = Node("Identity", inputs: ["x"], outputs: ["cet1"])
    let model = Model(graph: Graph(nodes: [node]))
    var planes = PlaneEncoding(opset: model.opset, names: NameScope(model), runtime: nil)
    _ = try planes.add([WrittenWeight(Self.tensor(shape: [2, 2], bits: 2, axis: 0))])
    #expect(planes.nodes.allSatisfy { !$0.outputs.contains("cet1") })
  }
}
