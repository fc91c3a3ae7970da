import CetGraph
import CetQuantize
import CetTensor
import Testing

@testable import func Cet.forward
@testable import CetEncode

/// The nodes against `QuantizedTensor.dequantized`, bit for bit, in the library's executor. ONNX Runtime judges whole files
/// in Tests/python.
@Suite struct DequantizeEncodingTests {
  private static func tensor(
    shape: [Int], bits: Int, axis: Int?, blockSize: Int = 0, zeroUnit: Int = 1, coding: Coding = .affine, seed: UInt64 = 1
  ) throws -> QuantizedTensor {
    var random = Random(seed: seed)
    let rows = axis.map { shape[$0] } ?? 1
    let columns = shape.elementCount / rows
    let grid = blockSize > 0 ? rows * ((columns + blockSize - 1) / blockSize) : rows
    let zeros = UInt64(zeroUnit * ((1 << bits) - 1) + 1)
    let form = try QuantizedForm(name: "w", shape: shape, bits: bits, axis: axis, blockSize: blockSize, zeroUnit: zeroUnit, coding: coding)
    return try QuantizedTensor(
      form, codes: (0..<shape.elementCount).map { _ in UInt8(random.next() % (1 << UInt64(bits))) },
      scales: (0..<grid).map { _ in Float(0.01 + random.uniform()) },
      zeroPoints: coding.hasZeroPoints ? (0..<grid).map { _ in UInt8(random.next() % zeros) } : [])
  }

  private static func encoded(_ tensor: QuantizedTensor) throws -> DequantizeEncoding {
    var encoding = DequantizeEncoding(opset: 13, names: NameScope(Model(graph: Graph())), runtime: nil)
    _ = try encoding.add([WrittenWeight(tensor)])
    return encoding
  }

  private static func values(_ encoding: DequantizeEncoding) throws -> Tensor {
    let output = ValueInfo(name: "w", type: .float32, shape: nil)
    var model = Model(opsets: ["": encoding.minimumOpset ?? 1], graph: Graph(outputs: [output]))
    model.graph.nodes = encoding.nodes
    model.graph.initializers = encoding.initializers
    return try forward(model, inputs: [])[0].tensor
  }

  @Test(arguments: [(2, 1), (2, 2), (3, 1), (3, 2), (4, 1), (5, 1), (7, 1), (8, 1)])
  func nodes_giveTheDequantizedWeights(_ bits: Int, _ zeroUnit: Int) throws {
    for shape in [[4, 3, 3, 3], [5, 7], [16, 8], [1, 1], [6]] {
      for axis in [nil, 0, shape.count - 1, shape.count / 2] as [Int?] {
        for blockSize in axis == nil ? [0] : [0, 1, 4, 5, 64] {
          for coding in zeroUnit == 1 ? [Coding.affine, .symmetric] : [.affine] {
            let tensor = try Self.tensor(
              shape: shape, bits: bits, axis: axis, blockSize: blockSize, zeroUnit: zeroUnit, coding: coding)
            let values = try Self.values(Self.encoded(tensor))
            #expect(values.shape == shape)
            #expect(try values.array(as: Float.self) == tensor.dequantized(), "\(shape) axis \(axis ?? -1) block \(blockSize) \(coding)")
          }
        }
      }
    }
  }

  @Test(arguments: [0, 1, 2, nil] as [Int?]) func movedTensorsOfTwoBits_haveBlocks(_ axis: Int?) throws {
    let tensor = try Self.tensor(shape: [6, 4, 5], bits: 2, axis: axis)
    var encoding = DequantizeEncoding(opset: 13, names: NameScope(Model(graph: Graph())), runtime: nil)
    var weight = WrittenWeight(tensor)
    weight.isMoved = true
    _ = try encoding.add([weight])
    #expect(encoding.nodes[0].attributes["block_size"] != nil)
    #expect(try Self.values(encoding).array(as: Float.self) == tensor.dequantized())
  }

  @Test func versions_areWhatTypesAndGridsNeed() throws {
    func versions(_ bits: Int, axis: Int? = 0, block: Int = 0, unit: Int = 1) throws -> [Int] {
      let encoding = try Self.encoded(Self.tensor(shape: [4, 10], bits: bits, axis: axis, blockSize: block, zeroUnit: unit))
      return [encoding.minimumOpset ?? 0, Int(encoding.minimumIRVersion ?? 0)]
    }
    #expect(try versions(8) == [13, 0])
    #expect(try versions(8, axis: nil) == [10, 0])
    #expect(try versions(8, block: 4) == [21, 0])
    #expect(try versions(8, block: 10) == [13, 0])
    #expect(try versions(4) == [21, 10])
    #expect(try versions(3, unit: 2) == [21, 10])
    #expect(try versions(2) == [25, 13])
    #expect(try versions(2, unit: 2) == [21, 10])
  }

  @Test func storedBytes_areThoseOfTheInitializers() throws {
    for bits in 2...8 {
      for (block, coding) in [(0, Coding.affine), (4, .affine), (0, .symmetric), (4, .symmetric)] {
        let unit = coding.hasZeroPoints ? DequantizeEncoding.zeroUnit(bits: bits) : 1
        let tensor = try Self.tensor(shape: [5, 7], bits: bits, axis: 0, blockSize: block, zeroUnit: unit, coding: coding)
        let bytes = DequantizeEncoding.storedBytes(
          rows: 5, columns: 7, blocks: tensor.scales.count / 5, CodeFormat(bits: bits, coding: coding))
        let held = try Self.encoded(tensor).initializers.map { initializer in
          (initializer.tensor.count * initializer.tensor.type.bitWidth + 7) / 8
        }
        #expect(bytes.codes == held[0] && bytes.grids == held.dropFirst().reduce(0, +))
      }
    }
  }
}
