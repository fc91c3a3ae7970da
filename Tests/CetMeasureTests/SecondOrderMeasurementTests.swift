import CetAutodiff
import CetGraph
import CetTensor
import Testing

@testable import CetMeasure

private func oneLayer(_ loss: LossKind = .mse) throws -> BoundModel {
  try boundModel([Node("MatMul", inputs: ["x", "w"], outputs: ["y"])], [weight("w", 4, 3, seed: 1)], loss: loss, threads: 2)
}

private func batches() throws -> [Batch] { try (0..<3).map { try batch(["x": drawn(2, 4, seed: 10 + $0)]) } }

@Suite struct SecondOrderMeasurementTests {
  /// A linear model's squared distance has no third order.
  @Test func secondOrder_ofALinearModel_isTheLoss() throws {
    let bound = try oneLayer()
    let (data, versions) = (try batches(), try nearest(bound, bits: [2, 4]))
    var sums = [0.0, 0.0]
    let known = try SecondOrderMeasurement(bound, data).run(versions) { _, gradient, u in
      for i in 0..<2 { sums[i] += gradient[i] + 0.5 * u[i].reduce(0.0) { $0 + Double($1) * Double($1) } }
    }
    let found = try SensitivityMeasurement(bound, data, references: bound.referenceOutputs(data)).run(versions)
    #expect(known)
    for i in 0..<2 { #expect(abs(sums[i] / 6 - found[0][i].mean) < 1e-4 * found[0][i].mean) }
  }

  @Test func secondOrder_ofASum_isNotKnown() throws {
    let bound = try oneLayer(.output)
    #expect(try !SecondOrderMeasurement(bound, batches()).run(nearest(bound, bits: [2])) { _, _, _ in })
  }
}
