import CCet
import Cet
import CetTensor

@implementation @_cdecl("cet_run_into")
public func cet_run_into(
  _ model: OpaquePointer?, _ inputs: UnsafePointer<cet_tensor>?, _ inputCount: Int,
  _ options: UnsafePointer<cet_run_options>?, _ outputs: UnsafePointer<cet_buffer>?, _ outputCount: Int
) -> cet_status {
  boundary {
    let model = try Handle.get(model, as: ModelObject.self).model
    let targets = try Target.read(outputs, outputCount, of: model)
    let made = try run(model, inputs, inputCount, options)
    // All are looked at before the first is written.
    let pairs = try targets.map { target throws(CetError) in
      guard let output = made.first(where: { $0.name == target.name }) else {
        throw CetError(.internal, "output '\(target.name)' was not computed")
      }
      return (target, try target.checked(output.tensor))
    }
    for (target, tensor) in pairs where tensor.byteCount > 0 {
      target.buffer.data?.copyMemory(from: tensor.pointer, byteCount: tensor.byteCount)
    }
  }
}

/// A buffer of the caller's for one output.
private struct Target {
  let name: String
  let buffer: cet_buffer
  let shape: [Int]

  static func read(_ buffers: UnsafePointer<cet_buffer>?, _ count: Int, of model: LoadedModel) throws(CetError) -> [Target] {
    guard count > 0, count <= 1 << 16 else { throw invalid("argument 'output_count' is \(UInt(bitPattern: count))") }
    let buffers = try required(buffers, "outputs")
    let targets = try (0..<count).map { index throws(CetError) in
      let name = try text(buffers[index].name, "outputs[\(index)].name")
      guard model.outputs.contains(where: { $0.name == name }) else { throw invalid("the model has no output '\(name)'") }
      return try Target(name, buffers[index])
    }
    for (index, target) in targets.enumerated() {
      for other in targets[..<index] {
        if other.name == target.name { throw invalid("output '\(target.name)' appears twice") }
        guard let a = target.buffer.data, let b = other.buffer.data else { continue }
        if overlaps(a, Int(clamping: target.buffer.byte_size), b, Int(clamping: other.buffer.byte_size)) {
          throw invalid("the buffers of outputs '\(other.name)' and '\(target.name)' overlap")
        }
      }
    }
    return targets
  }

  private init(_ name: String, _ buffer: cet_buffer) throws(CetError) {
    self.name = name
    self.buffer = buffer
    guard buffer.data != nil || buffer.byte_size == 0 else { throw invalid("the buffer of output '\(name)' has data NULL") }
    guard Int(exactly: buffer.byte_size) != nil else {
      throw invalid("the buffer of output '\(name)' has \(buffer.byte_size) bytes, the limit is \(Int.max)")
    }
    guard buffer.rank <= 64 else { throw invalid("the buffer of output '\(name)' has rank \(buffer.rank), the limit is 64") }
    guard buffer.rank == 0 || buffer.shape != nil else {
      throw invalid("the buffer of output '\(name)' has rank \(buffer.rank) and shape NULL")
    }
    shape = (0..<Int(buffer.rank)).map { axis in buffer.shape.map { Int(clamping: $0[axis]) } ?? 0 }
  }

  /// The output in C order, once type, shape and size are the buffer's.
  func checked(_ tensor: Tensor) throws(CetError) -> Tensor {
    guard buffer.element_type == tensor.type.rawValue else {
      let got = ElementType(rawValue: buffer.element_type).map { "\($0)" } ?? "element type \(buffer.element_type)"
      throw CetError(.shapeMismatch, "the buffer of output '\(name)'", expected: "\(tensor.type)", got: got)
    }
    guard shape == tensor.shape else {
      throw CetError(
        .shapeMismatch, "the buffer of output '\(name)'", expected: tensor.shape.shapeText, got: shape.shapeText)
    }
    guard buffer.byte_size == UInt64(tensor.byteCount) else {
      throw CetError(
        .shapeMismatch, "the buffer of output '\(name)'", expected: "\(tensor.byteCount) bytes",
        got: "\(buffer.byte_size) bytes")
    }
    return try tensor.rowMajor()
  }
}
