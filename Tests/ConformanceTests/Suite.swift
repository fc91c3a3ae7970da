import CetGraph
import CetONNX
import CetTensor
import Glibc

@testable import Cet

/// A folder of ONNX backend test cases: <case>/model.onnx, <case>/test_data_set_<i>/input_<j>.pb, output_<j>.pb.
struct Suite {
  let folder: String

  /// Names of the cases, sorted; empty where the folder is not there.
  var caseNames: [String] { Suite.list(folder).filter { Suite.exists("\(folder)/\($0)/model.onnx") } }

  /// Runs all data sets of a case and compares the outputs.
  func run(_ name: String, relative: Double, absolute: Double) -> Outcome {
    let path = "\(folder)/\(name)"
    do {
      let model = try ModelFile(path: path + "/model.onnx").model
      for set in Suite.list(path).filter({ $0.hasPrefix("test_data_set_") }) {
        let inputs = try Suite.tensors("\(path)/\(set)", "input")
        let infos = inputs.count == model.graph.requiredInputs.count ? model.graph.requiredInputs : model.graph.inputs
        guard inputs.count <= infos.count else { return .wrong("\(inputs.count) inputs for \(infos.count)") }
        let outputs = try forward(model, inputs: zip(infos, inputs).map { ($0.name, try Suite.reinterpreted($1, as: $0.type)) })
        let expected = try Suite.tensors("\(path)/\(set)", "output")
        guard expected.count == outputs.count else { return .wrong("\(outputs.count) outputs for \(expected.count)") }
        for ((name, tensor), stored) in zip(outputs, expected) {
          let reference = try Suite.reinterpreted(stored, as: tensor.type)
          if let difference = try Comparison(relative: relative, absolute: absolute).difference(tensor, reference) {
            return .wrong("\(set), output '\(name)': \(difference)")
          }
        }
      }
      return .pass
    } catch let error as CetError {
      return .refused(error.message)
    } catch {
      return .wrong("\(error)")
    }
  }

  static func tensors(_ folder: String, _ kind: String) throws -> [Tensor] {
    var result: [Tensor] = []
    while exists("\(folder)/\(kind)_\(result.count).pb") {
      let path = "\(folder)/\(kind)_\(result.count).pb"
      do {
        let tensor = try TensorFile.read(path: path).tensor
        guard tensor.type != .string else { throw CetError(.unsupportedOperator, "string tensors are not supported") }
        result.append(tensor)
      } catch let error as CetError where error.code == .invalidModel {
        throw CetError(.unsupportedOperator, "\(kind) \(result.count) is not a tensor")
      }
    }
    return result
  }

  /// Old suites store bfloat16 as the bits in uint16.
  private static func reinterpreted(_ tensor: Tensor, as type: ElementType?) throws -> Tensor {
    guard tensor.type == .uint16, type == .bfloat16 else { return tensor }
    return try Tensor(type: .bfloat16, shape: tensor.shape, storage: tensor.storage, byteOffset: tensor.byteOffset)
  }

  static func exists(_ path: String) -> Bool { access(path, R_OK) == 0 }

  static func list(_ folder: String) -> [String] {
    guard let handle = opendir(folder) else { return [] }
    defer { closedir(handle) }
    var names: [String] = []
    while let entry = readdir(handle) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { raw in
        String(decoding: raw.prefix { $0 != 0 }, as: UTF8.self)
      }
      if !name.hasPrefix(".") { names.append(name) }
    }
    return names.sorted()
  }
}

enum Outcome: Equatable {
  case pass
  /// One clear error instead of outputs.
  case refused(String)
  case wrong(String)
}

/// numpy.testing.assert_allclose as the suite calls it: |a − b| ≤ absolute + relative·|b|; equal infinities and
/// two NaN agree. bfloat16 gets two units in the last place.
struct Comparison {
  let relative: Double
  let absolute: Double

  /// What differs, nil when nothing does.
  func difference(_ actual: Tensor, _ expected: Tensor) throws -> String? {
    guard actual.type == expected.type else { return "is \(actual.type), expected \(expected.type)" }
    guard actual.shape == expected.shape else {
      return "has shape \(actual.shape.shapeText), expected \(expected.shape.shapeText)"
    }
    if actual.type == .int64 || actual.type == .uint64 {  // exactly: a double does not hold every value
      let bits = (try words(actual), try words(expected))
      let first = bits.0.indices.first { bits.0[$0] != bits.1[$0] }
      return first.map { "element \($0) is \(Int64(bitPattern: bits.0[$0])), expected \(Int64(bitPattern: bits.1[$0]))" }
    }
    let relative = actual.type == .bfloat16 ? max(relative, 0x1p-6) : relative
    let (a, b) = (try numbers(actual), try numbers(expected))
    for index in a.indices {
      let same = a[index] == b[index] || (a[index].isNaN && b[index].isNaN)
      if !same && !(abs(a[index] - b[index]) <= absolute + relative * abs(b[index])) {
        return "element \(index) is \(a[index]), expected \(b[index])"
      }
    }
    return nil
  }

  private func words(_ tensor: Tensor) throws -> [UInt64] {
    let plain = try tensor.rowMajor()
    return Array(UnsafeBufferPointer(start: plain.pointer.assumingMemoryBound(to: UInt64.self), count: plain.count))
  }

  private func numbers(_ tensor: Tensor) throws -> [Double] {
    try Conversion.convert(tensor.rowMajor(), to: .float64, ComputeContext()).array(as: Double.self)
  }
}
