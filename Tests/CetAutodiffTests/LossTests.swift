import CetOperators
import CetTensor
import Testing

@testable import CetAutodiff

@Suite struct LossTests {
  private func emitted(_ kind: LossKind, _ z: Tensor, labels: Tensor? = nil, reference: Tensor? = nil) throws -> Double {
    let e = Emitter(program: Program(), context: ComputeContext())
    let value = try Loss.emit(
      kind, output: e.constant(z), labels: labels.map { e.constant($0) }, reference: reference.map { e.constant($0) }, e)
    return Double(try #require(e.known(value)).floats[0])
  }

  @Test func values_agreeWithTheEmittedLoss() throws {
    var random = Random(seed: 5)
    let z = try Tensor((0..<12).map { _ in Float(3 * random.normal()) }, shape: [4, 3])
    let r = try Tensor((0..<12).map { _ in Float(3 * random.normal()) }, shape: [4, 3])
    let labels = try Tensor([0, 2, 1, 1] as [Int64], shape: [4])
    for kind in LossKind.allCases {
      let direct = try Loss.value(kind, output: z, reference: r, labels: labels)
      #expect(abs(try emitted(kind, z, labels: labels, reference: r) - direct) < 1e-5 * max(1, abs(direct)))
    }
  }

  @Test func kl_ofEqualLogitsIsZeroAtAnyTemperature() throws {
    let z = try Tensor([1, -2, 5, 0.5, 0.25, 40] as [Float], shape: [2, 3])
    #expect(abs(try Loss.value(.kl, output: z, reference: z, labels: nil)) < 1e-12)
    #expect(abs(try Loss.value(.kl, output: z, reference: z, labels: nil, temperature: 4)) < 1e-12)
  }

  @Test func label_outsideTheClasses_isRefused() throws {
    let z = try Tensor([1, 2] as [Float], shape: [1, 2])
    #expect(throws: CetError.self) {
      try Loss.value(.crossEntropy, output: z, reference: nil, labels: Tensor([2] as [Int64], shape: [1]))
    }
  }
}
