import CetGraph
import CetOperators
import CetTensor

/// One node with operands to differentiate it at.
struct Sample {
  enum Operand {
    /// float64, uniform in the range; differentiated.
    case real([Int], ClosedRange<Double>)
    case constant(Tensor)
    case omitted
  }
  let type: String
  var domain = ""
  var opset = newestOpset
  var attributes: [String: Attribute] = [:]
  var operands: [Operand]
  var outputs = 1
  var step = 1e-5
  var tolerance = 1e-6

  init(
    _ type: String, domain: String = "", opset: Int = newestOpset, _ operands: [Operand],
    _ attributes: [String: Attribute] = [:], outputs: Int = 1, single: Bool = false,
    step named: Double? = nil
  ) {
    self.type = type
    self.domain = domain
    self.opset = opset
    self.operands = operands
    self.attributes = attributes
    self.outputs = outputs
    if single {  // computed in float32: large steps, which are exact for maps that are linear in each operand
      step = named ?? 0.125
      tolerance = named == nil ? 1e-4 : 1e-3
    }
  }

  func test() throws -> OperatorUnderTest {
    var random = Random(seed: 11)
    var inputs: [Tensor] = []
    var names: [String] = []
    var initializers: [Initializer] = []
    for (index, operand) in operands.enumerated() {
      switch operand {
      case .real(let shape, let range):
        names.append("x\(inputs.count)")
        inputs.append(try randomTensor(shape, &random, range.lowerBound, range.upperBound))
      case .constant(let tensor):
        names.append("c\(index)")
        initializers.append(Initializer(name: "c\(index)", tensor: tensor))
      case .omitted: names.append("")
      }
    }
    let results = (0..<outputs).map { "y\($0)" }
    let node = Node(type, domain: domain, inputs: names, outputs: results, attributes: attributes)
    let opsets = domain.isEmpty ? ["": opset] : ["": newestOpset, domain: 1]
    let model = Model(
      opsets: opsets,
      graph: Graph(nodes: [node], initializers: initializers))
    var test = OperatorUnderTest(name: domain.isEmpty ? "\(type)-\(opset)" : "\(domain).\(type)", inputs: inputs) { values, e in
      let scope = Scope(model: model, emitter: e)
      for (index, value) in values.enumerated() { scope.set("x\(index)", value) }
      return try scope.lower(model.graph, outputs: results)
    }
    test.step = step
    test.tolerance = tolerance
    return test
  }
}

func real(_ shape: Int..., in range: ClosedRange<Double> = -1...1) -> Sample.Operand { .real(shape, range) }
func integers(_ values: Int64...) throws -> Sample.Operand { .constant(try Tensor(values, shape: [values.count])) }
func integers(_ values: [Int64], _ shape: [Int]) throws -> Sample.Operand { .constant(try Tensor(values, shape: shape)) }
func doubles(_ values: Double...) throws -> Sample.Operand { .constant(try Tensor(values, shape: [values.count])) }
func flags(_ values: [Bool], _ shape: [Int]) throws -> Sample.Operand { .constant(try Tensor(values, shape: shape)) }
func scalar(_ value: Int64) throws -> Sample.Operand { .constant(try Tensor(scalar: value)) }

extension Attribute {
  static func text(_ value: String) -> Attribute { .string(Array(value.utf8)) }
}
