import CetEncode
import CetGraph
import CetLayers
import CetONNX
import CetQuantize
import CetTensor

/// A small model with weights on several axes and of two types, some with a bias and some without.
struct SampleLayers {
  let file: ModelFile
  let found: LinearLayers

  init(opset: Int = 13) throws {
    var random = Random(seed: 11)
    func weight(_ name: String, _ type: ElementType, _ shape: [Int]) throws -> Initializer {
      let values = try Tensor((0..<shape.elementCount).map { _ in Float(random.normal()) }, shape: shape)
      return Initializer(name: name, tensor: try Conversion.convert(values, to: type, ComputeContext()))
    }
    let graph = Graph(
      nodes: [
        Node("Conv", inputs: ["x", "conv", "conv_bias"], outputs: ["c"]),
        Node("Conv", inputs: ["x", "alike"], outputs: ["w"]),
        Node("Flatten", inputs: ["c"], outputs: ["f"]),
        Node("MatMul", inputs: ["f", "dense"], outputs: ["y"]),
        Node("MatMul", inputs: ["h", "half"], outputs: ["z"]),
      ],
      initializers: [
        try weight("conv", .float32, [5, 3, 3, 3]), try weight("conv_bias", .float32, [5]),
        try weight("alike", .float32, [4, 3, 3, 3]), try weight("dense", .float32, [80, 7]), try weight("half", .float16, [9, 4]),
      ],
      inputs: [
        ValueInfo(name: "x", type: .float32, shape: [.fixed(1), .fixed(3), .fixed(6), .fixed(6)]),
        ValueInfo(name: "h", type: .float16, shape: [.fixed(2), .fixed(9)]),
      ],
      outputs: [
        ValueInfo(name: "w", type: .float32, shape: nil), ValueInfo(name: "y", type: .float32, shape: nil),
        ValueInfo(name: "z", type: .float16, shape: nil),
      ])
    file = try ModelFile(bytes: ModelWriter.write(Model(opsets: ["": opset], graph: graph)))
    found = try LinearLayers(file.model)
  }

  var rewriting: Rewriting { Rewriting(found, original: file.model, biasNames: found.layers.map(\.biasName)) }

  /// Any codes, scales (that float16 has, too) and zero points of a layer.
  static func tensor(_ form: QuantizedForm, seed: UInt64) throws -> QuantizedTensor {
    var random = Random(seed: seed)
    let zeros = UInt64(form.zeroUnit * ((1 << form.bits) - 1) + 1)
    return try QuantizedTensor(
      form, codes: (0..<form.count).map { _ in UInt8(random.next() % (1 << UInt64(form.bits))) },
      scales: (0..<form.scaleCount).map { _ in Float(10 + random.next() % 1000) / 1024 },
      zeroPoints: (0..<form.zeroPointCount).map { _ in UInt8(random.next() % zeros) })
  }

  /// Every layer at the same bits, with a bias where it has or can have one.
  /// - Parameter coding: what the encoding and the granularity have of it.
  func quantized(
    _ encoding: Encoding, _ granularity: Granularity, bits: Int, coding: CodingPolicy = .affine
  ) throws -> [Int: QuantizedLayer] {
    var layers: [Int: QuantizedLayer] = [:]
    let grid = encoding.codeRules(granularity, coding: coding, trellis: .small)
    for (index, layer) in found.layers.enumerated() {
      let form = try grid.form(
        name: layer.name, shape: layer.shape, axis: layer.axis, grid.expected(bits: bits, columns: layer.columns) ?? CodeFormat(bits: bits))
      layers[index] = QuantizedLayer(
        tensor: try SampleLayers.tensor(form, seed: UInt64(index)), bias: [Float](repeating: 0.5, count: layer.channels))
    }
    return layers
  }
}
