import CetMeasure
import CetTensor
import Testing

@testable import Cet

@Suite struct PlanJSONTests {
  static func example() -> CompressionPlan {
    var options = PlanOptions(target: .ratio(11))
    options.method = .hawqV2
    options.loss = .crossEntropy
    options.granularity = .block(128)
    options.bits = [2, 4, 8]
    options.keep = ["fc.*"]
    options.fix = [.init(pattern: "conv1.*", bits: 8)]
    options.minBits = [.init(pattern: "op:Conv", bits: 2)]
    options.maxBits = [.init(pattern: "*", bits: 8), .init(pattern: "node:a", bits: 4)]
    options.group = ["auto", "fc?.weight"]
    options.seed = .max
    options.samples = 512
    options.output = "logits"
    var conv = PlannedTensor(name: "conv1.weight", shape: [16, 3, 3, 3], bits: 8, decision: .fixed, reason: "fix 'conv1.*'")
    conv.axis = 0
    conv.codeBytes = 432
    conv.storedBytes = 512
    var body = PlannedTensor(name: "läyer \"2\"\n", shape: [32, 16, 3, 3], bits: 2, decision: .chosen, reason: "cheap")
    body.axis = 0
    body.blockSize = 128
    body.sensitivity = [2: 0.1, 4: 1.0 / 3, 8: 0]
    body.lossPerByte = 1e-9
    body.measuredLoss = [2: 0.1, 4: 1.0 / 3, 8: .leastNonzeroMagnitude]
    body.curvatureLoss = [2: 0.2]
    body.codeBytes = 1152
    body.storedBytes = 1300
    var head = PlannedTensor(name: "fc.weight", shape: [10, 64], bits: 32, decision: .kept, reason: "keep 'fc.*'")
    head.storedBytes = 2560
    var plan = CompressionPlan(
      modelSHA256: String(repeating: "0a", count: 32), modelBytes: 12_345, options: options, loss: .crossEntropy,
      samples: 512, tensors: [conv, body, head], fileBytes: 5_000)
    let expected = LossEstimate(loss: 0.30000000000000004, interval: 0.1...0.7)
    let heldOut = HeldOutLoss(estimate: LossEstimate(loss: 0.2, interval: nil), samples: 128)
    plan.prediction = expected
    plan.anchor = PredictionAnchor(tableLoss: 0.2, expected: expected)
    plan.judgement = PlanJudgement(
      recipe: RoundingRecipe(
        pass: .sequential(SequentialOptions(ridge: 0.05, matchesVariance: true)),
        reduced: ["conv1.weight": .withoutBias, "fc.weight": .nearest]),
      heldOut: heldOut, expected: expected, calibration: "512 samples (00)", rounding: .compensated)
    plan.heldOutLoss = heldOut
    plan.notes = ["one"]
    return plan
  }

  @Test func plan_writtenAndRead_isEqual() throws {
    for target in [Target.ratio(11), .bits(2.9), .size(1_000_000), .maximumLoss(0.01)] {
      var plan = PlanJSONTests.example()
      plan.options.target = target
      plan.options.threads = Workers.processorCount
      #expect(try CompressionPlan(jsonText: plan.jsonText()) == plan)
    }
  }

  @Test func totals_followFromTheTensors() {
    let plan = PlanJSONTests.example()
    #expect(plan.parameterCount == 432 + 4608)
    #expect(plan.codeBytes == 432 + 1152)
    #expect(plan.meanBits == Double(432 * 8 + 4608 * 2) / 5040)
    #expect(plan.ratio == 32 / plan.meanBits)
    var empty = plan
    empty.tensors = []
    #expect(empty.meanBits == 32 && empty.ratio == 1)
  }

  @Test func bits_changedInTheDocument_areSetByHand() throws {
    let text = PlanJSONTests.example().jsonText()
    let place = try #require(text.firstRange(of: "\"bits\": 2,"))
    let plan = try CompressionPlan(jsonText: text.replacingCharacters(in: place, with: "\"bits\": 4,"))
    let tensor = plan.tensors[1]
    #expect(tensor.bits == 4 && tensor.decision == .fixed)
    #expect(tensor.reason == "set by hand")
    #expect(tensor.predictedLossChange == 1.0 / 3)
    #expect(tensor.codeBytes == 4608 / 2)
    #expect(tensor.storedBytes == 4608 / 2 + 4 * 32 * 2)
    let saved: Double = 4608.0 * 4 / 8
    #expect(tensor.lossPerByte == (1.0 / 3) / saved)
    // The fixed tensor beside it has no loss: that of the plan is not known, as little as the size of its file.
    #expect(plan.prediction == nil && plan.fileBytes == 0)
    // What was found out belongs to the former bits.
    #expect(plan.judgement == nil && plan.heldOutLoss == nil)
    #expect(try CompressionPlan(jsonText: plan.jsonText()) == plan)
  }

  private func message(_ edit: (String) -> String) -> String {
    do {
      _ = try CompressionPlan(jsonText: edit(PlanJSONTests.example().jsonText()))
      return "accepted"
    } catch {
      return error.code == .invalidArgument ? error.message : "code \(error.code)"
    }
  }

  @Test(arguments: [
    ("\"version\": 1", "\"version\": 2", "newer"),
    ("\"format\": \"cet-plan\"", "\"format\": \"x\"", "format"),
    ("\"decision\": \"fixed\"", "\"decision\": \"guessed\"", "tensors[0].decision: expected one of chosen, fixed, kept"),
    ("\"bits\": 2,", "\"bits\": 0,", "tensors[1].bits: expected 1 to 8, or 32 for float32, got 0"),
    ("\"bits\": 2,", "\"bits\": 33,", "tensors[1].bits: expected 0 to 32, got 33"),
    ("\"decision\": \"fixed\"", "\"decision\": \"kept\"", "tensors[0].decision: 'kept' does not go with 8 bits"),
    ("\"bits\": 2,", "\"bits\": 2.5,", "tensors[1].bits: expected an integer"),
    ("\"bits\": 32", "\"bits\": 8", "tensors[2].axis: is missing"),
    ("[16, 3, 3, 3]", "[16, -3, 3, 3]", "tensors[0].shape[1]"),
    ("[16, 3, 3, 3]", "[99999999999, 99999999999]", "too large"),
    ("\"method\": \"hawq-v2\"", "\"method\": \"hawq\"", "options.method"),
    ("\"granularity\": \"block:128\"", "\"granularity\": \"block:0\"", "options.granularity"),
    ("\"target_ratio\": 11", "\"target_ratio\": 11, \"target_bits\": 3", "exactly one"),
    ("\"target_ratio\": 11", "\"target_ratio\": -1", "target_ratio"),
    ("fc.weight", "conv1.weight", "appears twice"),
    ("0a0a", "0a0", "sha256: expected 64"),
    ("\"block_size\": 128", "\"block_size\": null", "accepted"),
    ("\"code_bytes\": 432", "\"code_bytes\": null", "tensors[0].code_bytes: is missing"),
    ("\"2\": 0.2", "\"x\": 0.2", "tensors[1].curvature_loss.x"),
    ("\"notes\":", "\"unknown\": 1, \"notes\":", "accepted"),
  ])
  func plan_damaged_isRefusedWithThePlace(_ from: String, _ to: String, _ expected: String) {
    let found = message { text in
      guard let range = text.firstRange(of: from) else { return "absent" }
      return text.replacingCharacters(in: range, with: to)
    }
    #expect(found.contains(expected), "\(found)")
  }
}

extension String {
  fileprivate func replacingCharacters(in range: Range<Index>, with text: String) -> String {
    String(self[..<range.lowerBound]) + text + String(self[range.upperBound...])
  }
}
