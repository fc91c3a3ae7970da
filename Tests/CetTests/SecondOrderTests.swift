import CetAutodiff
import CetMeasure
import CetQuantize
import CetTensor
import Testing

@testable import Cet

/// What plans say about second order, and how few samples are dealt with.
@Suite struct SecondOrderTests {
  private static func model() throws -> LoadedModel { try LoadedModel(path: "\(fixtures)/digits_cnn/model.onnx") }

  private static func data(_ model: LoadedModel) throws -> Calibration {
    try Calibration(npz: "\(fixtures)/digits_cnn/calibration.npz").fitted(to: model.requiredInputs)
  }

  /// The oracle is the Hessian-vector product, which goes through other rules (reverse mode, then forward mode).
  @Test func directions_squared_areTheHessiansQuadraticForm() throws {
    let model = try Self.model()
    let data = try Self.data(model).prefix(32)
    let session = try Session(
      model, data, loss: .kl, output: nil, batchSize: nil, threads: 2, monitor: Monitor())
    let bound = session.bound
    let versions = try bound.layers.indices.map { [try LayerRounding(bound, $0, nil).quantized(CodeFormat(bits: 3), rules: Encoding.planes.codeRules(.perAxis))] }
    var sums = [Double](repeating: 0, count: versions.count)
    let known = try SecondOrderMeasurement(bound, session.batches).run(versions) { _, gradient, u in
      for (i, values) in u.enumerated() { sums[i] += gradient[i] + 0.5 * values.reduce(0.0) { $0 + Double($1) * Double($1) } }
    }
    #expect(known)
    var options = CurvatureOptions()
    options.loss = .kl
    let curvature = try Curvature(model, data, options)
    for (i, info) in curvature.parameters.enumerated() {
      var delta = [Float](repeating: 0, count: curvature.dimension)
      let weights = try bound.weightValues(bound.layers[i])
      for (k, value) in versions[i][0].tensor.dequantized().enumerated() { delta[info.offset + k] = value - weights[k] }
      var product = delta
      try delta.withUnsafeBufferPointer { v in
        try product.withUnsafeMutableBufferPointer { try curvature.apply(#require(v.baseAddress), #require($0.baseAddress)) }
      }
      let expected = 0.5 * zip(delta, product).reduce(0.0) { $0 + Double($1.0) * Double($1.1) }
      #expect(abs(sums[i] / Double(session.sampleCount) - expected) <= 1e-3 * expected)
    }
  }

  @Test func plan_saysWhatSecondOrderPredicts() throws {
    let model = try Self.model()
    var options = PlanOptions(target: .ratio(10))
    options.samples = 64
    let plan = try makePlan(model, Self.data(model), options, Monitor())
    for tensor in plan.tensors {
      #expect(tensor.curvatureLoss.keys.sorted() == [1, 2, 3, 4, 5, 6, 8])
      // At 8 bits the third order is far below the second.
      let (measured, predicted) = (tensor.measuredLoss[8] ?? 0, tensor.curvatureLoss[8] ?? 0)
      #expect(abs(measured - predicted) <= 1e-6 + 0.1 * predicted)
      #expect(tensor.trustRadius != nil)
    }
    let prediction = try #require(plan.prediction)
    #expect(try #require(prediction.interval).contains(prediction.loss))
    let again = try CompressionPlan(jsonText: plan.jsonText())
    #expect(again == plan)
  }

  @Test(arguments: [8, 16, 32])
  func fewSamples_compensatedIsNoWorseThanGPTQ(_ samples: Int) throws {
    let model = try Self.model()
    let all = try Self.data(model)
    var options = PlanOptions(target: .ratio(12))
    options.samples = samples
    let plan = try makePlan(model, all, options, Monitor())
    let judge = try Session(model, all, loss: nil, output: nil, batchSize: nil, threads: 2, monitor: Monitor())
    let references = try judge.references()
    func loss(_ rounding: Rounding) throws -> Double {
      var options = QuantizeOptions()
      options.rounding = rounding
      let result = try quantizeModel(model, all, plan, options, Monitor())
      var changed: [String: Tensor] = [:]
      for tensor in result.tensors { changed[tensor.name] = try Tensor(tensor.dequantized(), shape: tensor.shape) }
      for correction in result.corrections {
        guard let old = judge.bound.weights[correction.name] else { continue }
        changed[correction.name] = try Tensor(correction.values, shape: old.shape)
      }
      // Judged on all samples, most of which the rounding has not seen.
      return try judge.bound.meanLoss(judge.batches, references: references, changed: changed, temperature: 4)
    }
    #expect(try loss(.compensated) <= loss(.gptq) * 1.001)
  }

  @Test func folds_holdEveryBatchOutOnce() throws {
    let model = try Self.model()
    let session = try Session(
      model, Self.data(model).prefix(20), loss: nil, output: nil, batchSize: nil, threads: 1, monitor: Monitor())
    let splits = try (0..<SamplePolicy.folds).map { try session.split(fold: $0) }
    #expect(splits.flatMap(\.heldOut).sorted() == Array(session.batches.indices))
    for split in splits { #expect((split.fitting + split.heldOut).sorted() == Array(session.batches.indices)) }
  }

  @Test func fewestSamples_compensatedIsGPTQ() throws {
    let model = try Self.model()
    let data = try Self.data(model)
    var options = PlanOptions(target: .bits(2))
    options.samples = 15
    let plan = try makePlan(model, data, options, Monitor())
    let codes = try [Rounding.gptq, .compensated].map { rounding in
      var options = QuantizeOptions()
      options.rounding = rounding
      return try quantizeModel(model, data, plan, options, Monitor()).tensors.map { $0.dequantized() }
    }
    #expect(codes[0] == codes[1])
  }

  @Test func pairedLosses_acceptOnlyWhatExceedsChance() {
    #expect(Statistic.isBelow([1, 2, 3, 4], [1.5, 2.4, 3.6, 4.5]))
    #expect(!Statistic.isBelow([1, 2, 3, 4], [3, 1, 2, 4.1]))
    #expect(!Statistic.isBelow([1], [2]))
  }

  @Test func interval_ofEqualValues_isAPoint() throws {
    let point = try #require(Statistic.interval([Double](repeating: 2, count: 10)))
    #expect(abs(point.lowerBound - 2) < 1e-12 && abs(point.upperBound - 2) < 1e-12)
    #expect(Statistic.interval([1, 2]) == nil)
    // Standard error 2.90, with that of as many new values 4.10; mean 49.5.
    let wide = try #require(Statistic.interval((0..<100).map(Double.init)))
    #expect(abs(wide.lowerBound - 41.9) < 0.5 && abs(wide.upperBound - 58.5) < 0.5)
    // Values of both signs: symmetric about the mean.
    let both = try #require(Statistic.interval((0..<100).map { Double($0) - 49 }))
    #expect(abs(both.lowerBound + both.upperBound - 1) < 1e-9 && both.upperBound > 8 && both.upperBound < 9)
  }

  @Test func estimate_longTailThatHeldOutSamplesMiss_isTakenFromTheOthers() {
    // Unseen samples lose a half more at the judging temperature; one seen sample makes up the loss at temperature 1.
    let unseen = SampleLosses(plain: [Double](repeating: 0.1, count: 32), judged: [Double](repeating: 0.3, count: 32))
    let seen = SampleLosses(plain: [Double](repeating: 0.1, count: 95) + [9.6], judged: [Double](repeating: 0.2, count: 96))
    let estimate = LossEstimate(unseen: unseen, seen: seen)
    #expect(abs(estimate.loss - (32 * 0.1 + 1.5 * (95 * 0.1 + 9.6)) / 128) < 1e-12)
    #expect(estimate.interval.map { $0.upperBound > 2 * estimate.loss } ?? false)
  }

  @Test func trustRadius_endsBeforeTheFirstDisagreement() {
    var trust = TrustRadius()
    trust.add(norm: 1, predicted: 0.0001, measured: 0.0009)
    trust.add(norm: 4, predicted: 1.05, measured: 1)
    trust.add(norm: 2, predicted: 0.1, measured: 0.2)
    #expect(trust.radius == 1)
  }
}
