import CetAutodiff
import CetGraph
import CetOperators
import CetTensor
import Testing

struct DerivativeTests {
  @Test func samples_haveExactFirstAndSecondDerivatives() throws {
    for sample in try allSamples() {
      do {
        try checkOperator(sample.test())
      } catch {
        Issue.record("\(sample.domain) \(sample.type): \(error)")
      }
    }
  }

  /// Control flow gets its derivatives from the graphs it contains; the rest must be sampled.
  @Test func registry_everyDifferentiableOperatorIsSampled() throws {
    let composed: Set = ["::If", "::Loop", "::Scan", "::Unique", "::LinearAttention"]
    let sampled = Set(try allSamples().map { "\($0.domain)::\($0.type)" })
    for entry in OperatorRegistry.entries where entry.derivatives == .exact {
      let key = "\(entry.domain)::\(entry.type)"
      #expect(sampled.contains(key) || composed.contains(key), "\(key) has no sample")
    }
  }

  @Test func registry_namesEveryOperatorOnce() {
    var seen: Set<String> = []
    for entry in OperatorRegistry.entries {
      #expect(seen.insert("\(entry.domain)::\(entry.type)").inserted, "\(entry.type) twice")
    }
  }

  /// The derivative on both sides of a kink and, at the kink, on the documented side.
  @Test(arguments: [
    ("Relu", [-1e-3, 0, 1e-3], [0.0, 0, 1]), ("Abs", [-1e-3, 0, 1e-3], [-1, 0, 1]),
    ("LeakyRelu", [-1e-3, 0, 1e-3], [0.01, 0.01, 1]), ("HardSigmoid", [-2.6, -2.4, 2.6], [0, 0.2, 0]),
    ("Elu", [-1e-6, 0, 1e-6], [1, 1, 1]), ("ThresholdedRelu", [0.9, 1, 1.1], [0, 0, 1]),
  ])
  func kinks_takeTheDocumentedSide(type: String, at points: [Double], expected: [Double]) throws {
    let slopes = try derivative(points) { x, e in
      let node = Node(type, inputs: ["x"], outputs: ["y"])
      let scope = Scope(model: Model(opsets: ["": newestOpset], graph: Graph(nodes: [node])), emitter: e)
      scope.set("x", x)
      return try scope.lower(scope.model.graph, outputs: ["y"])[0]
    }
    for (slope, value) in zip(slopes, expected) { #expect(abs(slope - value) < 1e-5, "\(type): \(slope), expected \(value)") }
  }

  @Test func ties_maximumOfTwoGoesToTheFirst() throws {
    let slopes = try derivative([1, 2, 3]) { x, e in try e.binary(.maximum, x, e.scalar(2, .float64)) }
    #expect(slopes == [0, 1, 1])
  }

  @Test func ties_maximumOverAxesIsShared() throws {
    let slopes = try derivative([2, 2, 1]) { x, e in try e.emit(Extremum(axes: [0], largest: true), x) }
    #expect(slopes == [0.5, 0.5, 0])
  }

  private func derivative(_ points: [Double], _ f: (Value, Emitter) throws -> Value) throws -> [Double] {
    let (program, context) = (Program(), ComputeContext())
    let e = Emitter(program: program, context: context)
    let x = e.source(.input("x"), TensorType(.float64, [points.count]))
    let y = try f(x, e)
    let total = try e.reshape(e.sum(y, axes: Array(0..<y.rank)), [])
    let gradient = try Differentiate.cotangents(of: [x], seeds: [total: e.scalar(1, .float64)], e)[0]
    guard let gradient else { return points.map { _ in 0 } }
    let feeds = [x.id: try Tensor(points, shape: [points.count])]
    return try StagedProgram(program, outputs: [gradient]).run(feeds, context)[0].array(as: Double.self)
  }
}
