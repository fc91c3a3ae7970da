import CetTensor
import Testing

@testable import Cet

@Suite struct CalibrationTests {
  private let image = ValueInfo(name: "input", type: .float32, shape: [.symbolic("batch"), .fixed(3), .unknown])

  private func message(_ body: () throws -> Void) -> String {
    do {
      try body()
      return "accepted"
    } catch {
      return (error as? CetError)?.message ?? "\(error)"
    }
  }

  private func ones(_ shape: [Int]) throws -> Tensor { try Tensor([Float](repeating: 1, count: shape.elementCount), shape: shape) }

  @Test func batch_sizesThatDisagree_areRefused() throws {
    var data = Calibration()
    let (a, b) = (try ones([2, 3]), try ones([4, 5]))
    #expect(message { try data.add(inputs: []) }.contains("at least one input"))
    #expect(message { try data.add(inputs: [("a", a), ("b", b)]) } == "input 'b' has shape [4×5], expected 2 samples on axis 0")
    #expect(message { try data.add(inputs: [("a", a), ("a", a)]) }.contains("appears twice"))
    #expect(message { try data.add(inputs: [("a", Tensor(scalar: Float(1)))]) }.contains("expected samples on axis 0"))
    #expect(message { try data.add(inputs: [("a", a)], labels: Tensor([Int64](repeating: 0, count: 4), shape: [4])) }.contains("expected"))
    #expect(message { try data.add(inputs: [("a", a)], labels: Tensor([Int64](arrayLiteral: 0, -1), shape: [2])) }.contains("label -1 of sample 1"))
    #expect(message { try data.add(inputs: [("a", a)], labels: Tensor([Float](arrayLiteral: 0, 1), shape: [2])) }.contains("integers"))
    #expect(data.sampleCount == 0)
    try data.add(inputs: [("a", a)])
    #expect(message { try data.add(inputs: [("b", a)]) } == "batch 1: input 'b' is not in batch 0")
    #expect(message { try data.add(inputs: [("a", ones([2, 3, 1]))]) }.contains("batch 1: input 'a' has shape"))
    #expect(message { try data.add(inputs: [("a", Tensor([Int64](arrayLiteral: 0), shape: [1, 1]))]) }.contains("is int64"))
    #expect(message { try data.add(inputs: [("a", a)], labels: Tensor([UInt8](arrayLiteral: 0, 1), shape: [2])) }.contains("batch 0 has none"))
    try data.add(inputs: [("a", ones([5, 7]))])
    #expect(data.sampleCount == 7)
  }

  @Test func batch_notFinite_isRefusedWithThePlace() throws {
    var values = [Float](repeating: 0, count: 24)
    var data = Calibration()
    try data.add(inputs: [("input", ones([4, 3, 2]))])
    values[6 * 2 + 2 * 1 + 1] = .nan
    let bad = try Tensor(values, shape: [4, 3, 2])
    #expect(message { try data.add(inputs: [("input", bad)]) } == "input 'input' is NaN or infinite at sample 6, position [1, 1]")
    values[13 + 2] = .infinity
    let half = try Tensor(type: .float16, shape: [1], storage: Tensor([UInt16(0xFC00)], shape: [1]).storage)
    #expect(message { try data.add(inputs: [("input", half)]) }.contains("NaN or infinite"))
  }

  @Test func fitted_namesTypesAndSizes_mustAgree() throws {
    var data = Calibration()
    try data.add(inputs: [("input", ones([2, 3, 5])), ("extra", ones([2]))])
    #expect(message { _ = try data.fitted(to: [image]) } == "the model has no input 'extra' (it has 'input')")
    data = Calibration()
    #expect(message { _ = try data.fitted(to: [image]) }.contains("no samples"))
    try data.add(inputs: [("x", ones([2, 3, 5]))])
    #expect(message { _ = try data.fitted(to: [image]) } == "the calibration has no array for model input 'input' (it has 'x')")
    data = Calibration()
    try data.add(inputs: [("input", ones([2, 4, 5]))])
    #expect(message { _ = try data.fitted(to: [image]) } == "input 'input' has shape [2×4×5], the model needs [batch×3×?]")
    data = Calibration()
    try data.add(inputs: [("input", Tensor([Double](repeating: 0, count: 6), shape: [2, 3, 1]))])
    #expect(message { _ = try data.fitted(to: [image]) } == "input 'input' is float64, the model needs float32")
    data = Calibration()
    try data.add(inputs: [("input", ones([2, 3]))])
    #expect(message { _ = try data.fitted(to: [image]) }.contains("the model needs [batch×3×?]"))
  }

  @Test func fitted_fixedBatch_takesMultiplesOfIt() throws {
    let fixed = ValueInfo(name: "input", type: .float32, shape: [.fixed(2), .fixed(3)])
    #expect(SampleAxes.fixedBatchSize(of: [fixed]) == 2)
    #expect(SampleAxes.fixedBatchSize(of: [image]) == nil)
    var data = Calibration()
    try data.add(inputs: [("input", ones([6, 3]))])
    #expect(try data.fitted(to: [fixed]).sampleCount == 6)
    try data.add(inputs: [("input", ones([3, 3]))])
    #expect(message { _ = try data.fitted(to: [fixed]) } == "batch 1: input 'input' has shape [3×3], the model needs [2×3]")
  }

  @Test func fitted_halfModel_takesFloat32() throws {
    let half = ValueInfo(name: "input", type: .float16, shape: nil)
    var data = Calibration()
    try data.add(inputs: [("input", Tensor([Float](arrayLiteral: 1.5), shape: [1, 1]))])
    let tensor = try #require(try data.fitted(to: [half]).batches[0].input("input"))
    #expect(tensor.type == .float16 && tensor.pointer.load(as: UInt16.self) == 0x3E00)
  }

  @Test func npz_arraysThatAreNoInputs_areIgnored() throws {
    let data = try Calibration(npz: "\(fixtures)/npz/mixed.npz")
    #expect(data.sampleCount == 2 && data.hasLabels)
    let fitted = try data.fitted(to: [image])
    #expect(fitted.batches[0].inputs.map(\.name) == ["input"])
    #expect(try fitted.batches[0].labels?.array(as: Int64.self) == [1, 0])
    let missing = ValueInfo(name: "mask", type: nil, shape: nil)
    #expect(message { _ = try data.fitted(to: [image, missing]) }.contains("(it has 'input', 'score', 'labels')"))
    let words = ValueInfo(name: "words", type: nil, shape: nil)
    #expect(message { _ = try data.fitted(to: [words]) }.contains("'<U2'"))
    let labels = ValueInfo(name: "labels", type: .int64, shape: [.unknown])
    let both = try data.fitted(to: [image, labels])
    #expect(both.batches[0].labels == nil && both.batches[0].inputs.count == 2)
  }

  @Test func prefix_cutsInsideABatch() throws {
    var data = Calibration()
    try data.add(inputs: [("a", Tensor((0..<4).map(Float.init), shape: [2, 2]))], labels: Tensor([Int32](arrayLiteral: 5, 6), shape: [2]))
    try data.add(inputs: [("a", Tensor((4..<10).map(Float.init), shape: [3, 2]))], labels: Tensor([Int32](arrayLiteral: 7, 8, 9), shape: [3]))
    data = try data.fitted(to: [ValueInfo(name: "a", type: .float32, shape: nil)])
    let cut = try data.prefix(3)
    #expect(cut.sampleCount == 3 && cut.batches.count == 2)
    #expect(try cut.batches[1].inputs[0].tensor.array(as: Float.self) == [4, 5])
    #expect(try data.batches[1].samples(1..<3).labels?.array(as: Int64.self) == [8, 9])
  }

  @Test func run_inputs_mustBeTheModels() throws {
    let x = try ones([2, 3, 5])
    #expect(message { try checkRunInputs([image], [("input", x)]) } == "accepted")
    #expect(message { try checkRunInputs([image], []) } == "model input 'input' is missing")
    #expect(message { try checkRunInputs([image], [("input", x), ("input", x)]) }.contains("appears twice"))
    #expect(message { try checkRunInputs([image], [("y", x)]) }.contains("no input 'y'"))
  }
}
