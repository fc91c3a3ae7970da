import CetGraph
import CetONNX
import CetTensor
import Glibc
import Testing

@testable import Cet

/// Damaged cases must end in outputs or in one error, never in a trap. CET_MUTATIONS=n tries n damages for each
/// case; CET_TRACE=1 names each case on standard error before it runs.
struct MutationTests {
  private static let numbers: [Int64] = [-7, -1, 0, 1, 2, 5, 100, 1 << 40, .max, .min]

  @Test func mutatedCases_neverTrap() throws {
    let rounds = getenv("CET_MUTATIONS").flatMap { Int(String(cString: $0)) } ?? 3
    let traces = getenv("CET_TRACE") != nil
    let folders = ["/usr/share/libonnx-testdata/data/node"] + (getenv("CET_ONNX_CASES").map { [String(cString: $0) + "/node"] } ?? [])
    for folder in folders {
      let suite = Suite(folder: folder)
      for name in suite.caseNames where getenv("CET_CASE").map({ name.contains(String(cString: $0)) }) ?? true {
        guard let model = try? ModelFile(path: "\(folder)/\(name)/model.onnx").model,
          let inputs = try? Suite.tensors("\(folder)/\(name)/test_data_set_0", "input")
        else { continue }
        var random = Random(seed: UInt64(truncatingIfNeeded: name.utf8.reduce(5381) { ($0 &* 33) ^ Int($1) }))
        for round in 0..<rounds {
          let (damaged, operands) = try damage(model, inputs, &random)
          if traces { trace("\(name) \(round)", damaged, operands) }
          _ = try? forward(damaged, inputs: zip(damaged.graph.inputs, operands).map { ($0.name, $1) })
        }
      }
    }
  }

  private func trace(_ place: String, _ model: Model, _ operands: [Tensor]) {
    let nodes = model.graph.nodes.map { "\($0.operatorType) \($0.inputs) \($0.attributes)" }.joined(separator: "; ")
    let numbers = operands.filter { $0.type == .int64 && $0.count < 9 }.map { (try? $0.array(as: Int64.self)) ?? [] }
    let line = Array("\(place): \(nodes.prefix(600)) \(operands.map(\.shape)) \(numbers)\n".utf8)
    _ = write(2, line, line.count)
  }

  private func damage(_ model: Model, _ inputs: [Tensor], _ random: inout Random) throws -> (Model, [Tensor]) {
    var (model, inputs) = (model, inputs)
    let node = Int.random(in: 0..<max(1, model.graph.nodes.count), using: &random)
    guard model.graph.nodes.indices.contains(node) else { return (model, inputs) }
    switch Int.random(in: 0..<6, using: &random) {
    case 0, 1:
      let keys = model.graph.nodes[node].attributes.keys.sorted()
      guard let key = keys.randomElement(using: &random) else { fallthrough }
      model.graph.nodes[node].attributes[key] = mutated(model.graph.nodes[node].attributes[key], &random)
    case 2:
      if Bool.random(using: &random) || model.graph.nodes[node].inputs.isEmpty {
        if !model.graph.nodes[node].inputs.isEmpty { model.graph.nodes[node].inputs.removeLast() }
      } else {
        let slot = Int.random(in: 0..<model.graph.nodes[node].inputs.count, using: &random)
        model.graph.nodes[node].inputs[slot] = ""
      }
    default:
      guard let slot = inputs.indices.randomElement(using: &random) else { break }
      inputs[slot] = try mutated(inputs[slot], &random)
    }
    return (model, inputs)
  }

  private func mutated(_ attribute: Attribute?, _ random: inout Random) -> Attribute? {
    func number() -> Int64 { MutationTests.numbers.randomElement(using: &random) ?? 0 }
    switch attribute {
    case .int: return .int(number())
    case .ints(var values):
      if values.isEmpty || Int.random(in: 0..<3, using: &random) == 0 { return .ints(values.dropLast() + [number(), number()].prefix(Int.random(in: 0...2, using: &random))) }
      values[Int.random(in: 0..<values.count, using: &random)] = number()
      return .ints(values)
    case .float: return .float([0, -1, 1e30, .nan, .infinity].randomElement(using: &random) ?? 0)
    case .string: return .string(Array("other".utf8))
    default: return nil
    }
  }

  private func mutated(_ tensor: Tensor, _ random: inout Random) throws -> Tensor {
    let count = tensor.count
    switch Int.random(in: 0..<6, using: &random) {
    case 0: return try tensor.reshaped([count])
    case 1: return try tensor.reshaped([1] + tensor.shape)
    case 2: return try Tensor.zeros(tensor.type, [])
    case 3:
      var shape = tensor.shape
      if let axis = shape.indices.randomElement(using: &random) { shape[axis] = 0 }
      return try Tensor.zeros(tensor.type, shape)
    case 4 where tensor.type == .int64 || tensor.type == .int32:
      let values = (0..<count).map { _ in MutationTests.numbers.randomElement(using: &random) ?? 0 }
      return try Conversion.convert(Tensor(values, shape: tensor.shape), to: tensor.type, ComputeContext())
    default:
      var shape = tensor.shape
      if let axis = shape.indices.randomElement(using: &random), shape[axis] > 1 { shape[axis] -= 1 } else { shape.append(1) }
      return try Tensor.zeros(tensor.type, shape)
    }
  }
}
