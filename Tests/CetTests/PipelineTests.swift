import CetGraph
import CetONNX
import CetTensor
import Testing

@testable import Cet

/// Planning and quantizing the bundled model.
@Suite struct PipelineTests {
  private static func model() throws -> LoadedModel { try LoadedModel(path: "\(fixtures)/digits_cnn/model.onnx") }

  private static func data(_ model: LoadedModel) throws -> Calibration {
    try Calibration(npz: "\(fixtures)/digits_cnn/calibration.npz").fitted(to: model.requiredInputs)
  }

  private static func options(_ target: Target, _ method: Method = .cet, threads: Int = 2) -> PlanOptions {
    var options = PlanOptions(target: target)
    options.method = method
    options.samples = 64
    options.threads = threads
    return options
  }

  private static func plan(_ target: Target, _ method: Method = .cet, threads: Int = 2) throws -> CompressionPlan {
    let model = try model()
    return try makePlan(model, data(model), options(target, method, threads: threads), Monitor())
  }

  @Test(arguments: [Method.cet, .paper, .hawqV2, .mckp, .uniform, .clado])
  func everyMethod_reachesTheRatio(_ method: Method) throws {
    let plan = try Self.plan(.ratio(9), method)
    #expect(plan.ratio >= 9)
    #expect(plan.tensors.allSatisfy { [1, 2, 3, 4, 5, 6, 8].contains($0.bits) })
    if method == .uniform { #expect(Set(plan.tensors.map(\.bits)).count == 1) }
    if method == .cet { #expect(Set(plan.tensors.map(\.bits)).count > 1) }
  }

  @Test func measuredTable_isMonotoneInWhatThePlanUses() throws {
    let small = try Self.plan(.ratio(14))
    let large = try Self.plan(.ratio(8))
    let (a, b) = (try #require(small.prediction).loss, try #require(large.prediction).loss)
    #expect(a >= b)
  }

  @Test func fileSize_isKeptAndForetoldExactly() throws {
    let model = try Self.model()
    let data = try Self.data(model)
    let limit = 48_000
    let plan = try makePlan(model, data, Self.options(.size(limit)), Monitor())
    let quantized = try quantizeModel(model, data, plan, QuantizeOptions(), Monitor())
    let bytes = try quantized.bytes(encoding: .planes)
    #expect(bytes.count <= limit)
    #expect(bytes.count == plan.fileBytes)
    #expect(bytes.count == quantized.plan.fileBytes)
    // The next larger plan would not have fitted: at least nine tenths are used.
    #expect(bytes.count > limit * 9 / 10)
  }

  @Test(arguments: [Rounding.nearest, .gptq, .compensated])
  func result_isTheSameForAnyNumberOfThreads(_ rounding: Rounding) throws {
    func bytes(_ threads: Int) throws -> [UInt8] {
      let model = try Self.model()
      let data = try Self.data(model)
      let plan = try makePlan(model, data, Self.options(.ratio(11), threads: threads), Monitor())
      var options = QuantizeOptions()
      options.rounding = rounding
      options.threads = threads
      return try quantizeModel(model, data, plan, options, Monitor()).bytes(encoding: .planes)
    }
    let one = try bytes(1)
    #expect(try bytes(2) == one)
    #expect(try bytes(3) == one)
  }

  @Test func replanning_fromTheTableGivesTheSamePlan() throws {
    let model = try Self.model()
    let first = try Self.plan(.ratio(8))
    let direct = try Self.plan(.ratio(12))
    let again = try makePlan(model, sensitivityOf: CompressionPlan(jsonText: first.jsonText()), Self.options(.ratio(12)))
    #expect(again.tensors.map(\.bits) == direct.tensors.map(\.bits))
  }

  @Test func nearestRounding_needsNoData() throws {
    let model = try Self.model()
    let plan = try Self.plan(.ratio(8), .uniform)
    var options = QuantizeOptions()
    options.rounding = .nearest
    let quantized = try quantizeModel(model, nil, plan, options, Monitor())
    #expect(quantized.plan.measuredLossChange == nil)
    #expect(try ModelFile(bytes: quantized.bytes(encoding: .float)).model.graph.nodes.count == model.file.model.graph.nodes.count)
    options.rounding = .gptq
    #expect(throws: CetError.self) { try quantizeModel(model, nil, plan, options, Monitor()) }
  }

  @Test func keepAndFix_areObeyed() throws {
    let model = try Self.model()
    var options = Self.options(.bits(3.5))
    let names = model.found.layers.map(\.name)
    options.keep = [names[0]]
    options.fix = [.init(pattern: names[1], bits: 8)]
    let plan = try makePlan(model, Self.data(model), options, Monitor())
    #expect(plan.tensors[0].decision == .kept && plan.tensors[0].bits == PlannedTensor.keptBits)
    #expect(plan.tensors[1].decision == .fixed && plan.tensors[1].bits == 8)
    #expect(plan.meanBits <= 3.5)
  }

  @Test func unreachableRatio_saysWhatIsReachable() throws {
    let error = #expect(throws: CetError.self) { try Self.plan(.ratio(40)) }
    #expect(error?.code == .infeasibleBudget)
    #expect(error?.message == "ratio 40.0 cannot be reached: the allowed bits give 4.0 to 32.0")
  }

  @Test func cancelling_throwsCancelled() throws {
    let model = try Self.model()
    let monitor = Monitor(progress: { phase, _, _ in phase != .sensitivity })
    let error = #expect(throws: CetError.self) {
      try makePlan(model, Self.data(model), Self.options(.ratio(11)), monitor)
    }
    #expect(error?.code == .cancelled)
  }

  @Test func maximumLoss_isKept() throws {
    let plan = try Self.plan(.maximumLoss(1e-3))
    #expect(try #require(plan.prediction).bound <= 1e-3)
    #expect(plan.ratio > 8)
  }

  @Test func anotherModel_isRefused() throws {
    let plan = try Self.plan(.ratio(8), .uniform)
    let other = try LoadedModel(path: "\(fixtures)/digits_cnn/model_opset21.onnx")
    #expect(throws: CetError.self) { try quantizeModel(other, nil, plan, QuantizeOptions(), Monitor()) }
  }

  /// A model without initializers: weight and bias are Constant nodes, as some exporters write them.
  @Test func constantNodes_areQuantizedLikeInitializers() throws {
    var random = Random(seed: 3)
    func constant(_ name: String, _ shape: [Int]) throws -> Node {
      let values = (0..<shape.elementCount).map { _ in Float(random.normal()) }
      let tensor = Initializer(name: "", tensor: try Tensor(values, shape: shape))
      return Node("Constant", inputs: [], outputs: [name], attributes: ["value": .tensor(tensor)])
    }
    let graph = Graph(
      name: "g",
      nodes: [
        try constant("w", [12, 5]), try constant("b", [5]), Node("MatMul", inputs: ["x", "w"], outputs: ["m"]),
        Node("Add", inputs: ["m", "b"], outputs: ["y"]),
      ], inputs: [ValueInfo(name: "x", type: .float32, shape: [.symbolic("n"), .fixed(12)])],
      outputs: [ValueInfo(name: "y", type: .float32, shape: [.symbolic("n"), .fixed(5)])])
    let bytes = try ModelWriter.write(Model(graph: graph))
    let model = try bytes.withUnsafeBytes { try LoadedModel(bytes: $0) }
    var data = Calibration()
    try data.add(inputs: [("x", try Tensor((0..<(64 * 12)).map { _ in Float(random.normal()) }, shape: [64, 12]))])
    data = try data.fitted(to: model.requiredInputs)
    let plan = try makePlan(model, data, Self.options(.bits(3)), Monitor())
    let written = try quantizeModel(model, data, plan, QuantizeOptions(), Monitor()).bytes(encoding: .planes)
    let result = try ModelFile(bytes: written).model
    #expect(!result.graph.nodes.contains { $0.operatorType == "Constant" })
    #expect(result.graph.initializers.contains { $0.name == "b" })
    #expect(try model.inspectJSON().contains("\"smallest_file_bytes\""))
  }
}
