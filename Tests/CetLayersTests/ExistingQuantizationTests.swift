import CetGraph
import CetTensor
import Testing

@testable import CetLayers

@Suite struct ExistingQuantizationTests {
  private func codes(_ name: String, _ shape: Int...) throws -> Initializer {
    Initializer(name: name, tensor: try Tensor([UInt8](repeating: 3, count: shape.elementCount), shape: shape))
  }

  @Test func plainModel_hasNone() throws {
    let found = ExistingQuantization(try LinearLayers(model([Node("MatMul", inputs: ["x", "w"], outputs: ["y"])], [weight("w", 2, 3)])))
    #expect(found.isEmpty && found.summary == nil && found.floatCount == 6)
  }

  @Test func codesAndActivations_areCountedByOperator() throws {
    let nodes = [
      Node("QuantizeLinear", inputs: ["x", "s"], outputs: ["q"]), Node("DequantizeLinear", inputs: ["q", "s"], outputs: ["a"]),
      Node("DequantizeLinear", inputs: ["c", "s"], outputs: ["w"]), Node("MatMul", inputs: ["a", "w"], outputs: ["m"]),
      Node(
        "MatMulNBits", domain: "com.microsoft", inputs: ["m", "p", "s"], outputs: ["n"],
        attributes: ["N": .int(5), "K": .int(2), "bits": .int(4)]),
      Node("MatMul", inputs: ["n", "v"], outputs: ["y"]),
    ]
    let scale = Initializer(name: "s", tensor: try Tensor([1] as [Float], shape: []))
    let found = ExistingQuantization(try LinearLayers(model(nodes, [scale, codes("c", 2, 2), codes("p", 5, 1, 8), weight("v", 5, 3)])))
    #expect(found.own.isEmpty && found.activations == ["QuantizeLinear"] && found.floatCount == 15)
    // Of packed codes those that they stand for: N · K.
    #expect(found.others.map { "\($0.operator) \($0.tensors) \($0.count)" } == ["DequantizeLinear 1 4", "com.microsoft.MatMulNBits 1 10"])
    #expect(
      found.summary
        == "already quantized: 1 constant tensors (4 values) by DequantizeLinear, left as they are; "
        + "1 constant tensors (10 values) by com.microsoft.MatMulNBits, left as they are; "
        + "activations by QuantizeLinear; 15 weights are float")
  }

  @Test func ownWeights_areKnownFromTheRecord() throws {
    var written = model(
      [Node("DequantizeLinear", inputs: ["c", "s"], outputs: ["w"]), Node("MatMul", inputs: ["x", "w"], outputs: ["y"])],
      [Initializer(name: "s", tensor: try Tensor([1] as [Float], shape: [])), try codes("c", 2, 2)])
    written.metadata = [("ai.libcet.version", "1.0"), ("ai.libcet.plan", #"{"w":4,"odd":99}"#), ("ai.libcet.source_sha256", "ab")]
    let layers = try LinearLayers(written)
    #expect(layers.record?.bits == ["w": 4] && layers.record?.sourceSHA256 == "ab" && layers.layers.map(\.name) == ["w"])
    let found = ExistingQuantization(layers)
    #expect(found.own.map { "\($0.name) \($0.bits) \($0.count)" } == ["w 4 4"] && found.floatCount == 0)
  }

  @Test func record_ofOthers_isNone() {
    #expect(CompressionRecord([]) == nil)
    #expect(CompressionRecord([("ai.libcet.version", "1"), ("ai.libcet.plan", "[")]) == nil)
    #expect(CompressionRecord([("ai.libcet.plan", "{}")]) == nil)
  }
}
