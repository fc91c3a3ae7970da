import CetQuantize
import CetTensor
import Testing

@testable import Cet

@Suite struct ActivationChoiceTests {
  private static func activation(_ name: String, elements: Int, losses: [Int: Double]) throws -> PlannedActivation {
    PlannedActivation(
      name: name, copies: [], elements: elements, bits: 32,
      choices: try losses.mapValuesWithKeys { bits, loss in
        .init(grid: try ActivationGrid(bits: bits, low: -1, high: 1), range: .minMax, sensitivity: loss, measuredLoss: loss)
      }, reason: "")
  }

  private let table: [PlannedActivation]
  init() throws {
    table = [
      try Self.activation("a", elements: 100, losses: [4: 1, 8: 0.01]), try Self.activation("b", elements: 100, losses: [4: 0.1, 8: 0.02]),
    ]
  }

  @Test func oneWidth_isEverybodys() throws {
    #expect(try table.chosen(ActivationOptions(bits: [8]), weightLoss: nil).map(\.bits) == [8, 8])
  }

  @Test func meanBits_boundTheChoice() throws {
    var options = ActivationOptions(bits: [4, 8])
    options.meanBits = 6
    #expect(try table.chosen(options, weightLoss: nil).map(\.bits) == [8, 4])
    options.meanBits = 3
    #expect(throws: CetError.self) { try table.chosen(options, weightLoss: nil) }
  }

  @Test func loss_boundsTheChoice_andTheWeightsLossWhereNoneIsSet() throws {
    var options = ActivationOptions(bits: [4, 8])
    #expect(try table.chosen(options, weightLoss: 0.12).map(\.bits) == [8, 4])
    #expect(try table.chosen(options, weightLoss: 2).map(\.bits) == [4, 4])
    // Less than can be reached is as good as can be.
    #expect(try table.chosen(options, weightLoss: 1e-9).map(\.bits) == [8, 8])
    #expect(throws: CetError.self) { try table.chosen(options, weightLoss: nil) }
    options.maximumLoss = 0.031
    #expect(try table.chosen(options, weightLoss: nil).map(\.bits) == [8, 8])
    options.maximumLoss = 0.001
    #expect(throws: CetError.self) { try table.chosen(options, weightLoss: nil) }
  }

  @Test func document_readsBackWhatItWrites() throws {
    var plan = PlanJSONTests.example()
    plan.options.granularity = .perAxis
    plan.options.activations = ActivationOptions(bits: [4, 8, 32])
    plan.options.activations?.meanBits = 6.5
    plan.activations = try table.chosen(ActivationOptions(bits: [8]), weightLoss: nil)
    plan.activations[0].copies = ["a2"]
    let read = try CompressionPlan(jsonText: plan.jsonText())
    #expect(read.activations == plan.activations && read.options.activations == plan.options.activations)
  }
}

extension Dictionary {
  fileprivate func mapValuesWithKeys<Other>(_ make: (Key, Value) throws -> Other) rethrows -> [Key: Other] {
    try [Key: Other](uniqueKeysWithValues: map { ($0, try make($0, $1)) })
  }
}
