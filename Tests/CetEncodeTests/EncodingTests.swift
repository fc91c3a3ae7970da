import CetLayers
import CetONNX
import CetQuantize
import CetTensor
import Testing

@testable import func Cet.forward
@testable import CetEncode

@Suite struct EncodingTests {
  @Test func words_standInTheHeadersOrder() {
    #expect(Encoding.allCases.map(\.rawValue) == ["planes", "qdq", "float", "ort"])
  }

  @Test func zeroUnits_areHalvesWhereTheyPay() {
    func units(_ encoding: Encoding) -> [Int] { (1...8).map { encoding.codeRules(.perAxis).zeroUnit(bits: $0) } }
    #expect(units(.planes) == [2, 2, 2, 1, 1, 1, 1, 1])
    #expect(units(.float) == units(.planes))
    #expect(units(.qdq) == [1, 1, 2, 1, 1, 1, 1, 1])
    #expect(units(.ort) == units(.qdq))
  }

  @Test func trellisCodes_areRefusedWhereThereAreNone() throws {
    let sample = try SampleLayers()
    let layers = try sample.quantized(.planes, .perAxis, bits: 3, coding: .trellis).mapValues { LayerContent($0) }
    #expect(throws: CetError.self) { try sample.rewriting.edit(layers, encoding: .qdq, metadata: []) }
  }

  @Test func notes_areOfProductsUnderDequantizeLinear() throws {
    let layers = try SampleLayers().found.layers
    #expect(Encoding.planes.notes(layers).isEmpty && Encoding.float.notes(layers).isEmpty)
    #expect(Encoding.qdq.notes(layers).count == 1)
    #expect(Encoding.qdq.notes(layers)[0].contains("2 matrix products"))
    #expect(Encoding.qdq.notes([]).isEmpty)
  }

  @Test func notes_ofRoundedActivations_areOfProductsThatAreNoneOfIntegers() throws {
    let layers = try SampleLayers().found.layers
    let product = try #require(layers.firstIndex { $0.name == "dense" })
    func written(_ bits: Int) throws -> [WrittenActivation] {
      [WrittenActivation(Activation(name: "f", copies: [], layers: [product]), try ActivationGrid(bits: bits, scale: 1, zeroPoint: 0))]
    }
    // The other's weight is of float16, which kernels of integers do not take.
    #expect(Encoding.qdq.notes(layers, activations: try written(8))[0].contains("encoding qdq: onnxruntime's default computes 1 matrix product "))
    #expect(Encoding.planes.notes(layers, activations: try written(8)).isEmpty)
    for encoding in [Encoding.planes, .float] {
      #expect(encoding.notes(layers, activations: try written(16))[0].contains("activations of 16 bits: onnxruntime's default computes 1 matrix product "))
    }
    #expect(Encoding.qdq.notes(layers, activations: try written(16)).count == 2)
  }

  /// Every encoding against the library's own executor: all of them write the same model.
  @Test(arguments: Encoding.allCases, [CodingPolicy.affine, .trellis])
  func writtenFiles_computeTheSame(_ encoding: Encoding, _ coding: CodingPolicy) throws {
    guard coding == .affine || encoding.carriesTrellis else { return }
    let sample = try SampleLayers()
    var random = Random(seed: 2)
    let x = try Tensor((0..<108).map { _ in Float(random.normal()) }, shape: [1, 3, 6, 6])
    let h = try Conversion.convert(
      Tensor((0..<18).map { _ in Float(random.normal()) }, shape: [2, 9]), to: .float16, ComputeContext())
    func outputs(_ encoding: Encoding, _ layers: [Int: LayerContent]) throws -> [(values: [Float], type: ElementType)] {
      let bytes = try ModelWriter.write(edit: sample.rewriting.edit(layers, encoding: encoding, metadata: []), of: sample.file)
      return try forward(ModelFile(bytes: bytes).model, inputs: [("x", x), ("h", h)]).map {
        (try Conversion.convert($0.tensor, to: .float32, ComputeContext()).array(as: Float.self), $0.tensor.type)
      }
    }
    for bits in [3, 4] {
      let layers = try sample.quantized(.planes, .perAxis, bits: bits, coding: coding).mapValues { LayerContent($0) }
      // Sums of a rotation, and those of a kernel, are taken in another order in a file: last digits differ, of 16 bits the last one.
      for (found, expected) in zip(try outputs(encoding, layers), try outputs(.float, layers)) {
        let largest = expected.values.reduce(0) { max($0, abs($1)) }
        let digit: Float = coding == .affine && encoding != .ort ? 0 : expected.type == .float16 ? 0x1p-10 : 2e-6
        #expect(zip(found.values, expected.values).allSatisfy { abs($0 - $1) <= digit * largest })
      }
    }
  }

  @Test func operatorSets_areRaisedAsFarAsNeeded() throws {
    let sample = try SampleLayers()
    func opset(_ encoding: Encoding, bits: Int) throws -> Int? {
      let layers = try sample.quantized(encoding, .perAxis, bits: bits).mapValues { LayerContent($0) }
      return try sample.rewriting.edit(layers, encoding: encoding, metadata: []).minimumOpset
    }
    #expect(try opset(.float, bits: 2) == nil)
    #expect(try opset(.planes, bits: 2) == 7)
    #expect(try opset(.qdq, bits: 8) == 13)
    #expect(try opset(.qdq, bits: 4) == 21)
    #expect(try opset(.qdq, bits: 2) == 25)
  }
}
