import CCet
import CetTensor

/// A copy of the caller's array, after its type, shape and size were checked.
func copied(_ source: cet_tensor, _ name: String) throws(CetError) -> Tensor {
  guard let type = ElementType(rawValue: source.element_type), accepted.contains(type) else {
    throw invalid("'\(name)' has element type \(source.element_type), which is not supported")
  }
  guard source.rank <= 64 else { throw invalid("'\(name)' has rank \(source.rank), the limit is 64") }
  var shape: [Int] = []
  if source.rank > 0 {
    guard let sizes = source.shape else { throw invalid("'\(name)' has rank \(source.rank) and shape NULL") }
    shape = try (0..<Int(source.rank)).map { axis throws(CetError) in
      guard let size = Int(exactly: sizes[axis]), size >= 0 else {
        throw CetError(.shapeMismatch, "'\(name)' has size \(sizes[axis]) on axis \(axis)").with(.input, name)
      }
      return size
    }
  }
  guard let count = shape.validatedCount else {
    throw CetError(.shapeMismatch, "'\(name)' has shape \(shape.shapeText), which is too large").with(.input, name)
  }
  let needed = count * type.byteWidth
  guard source.byte_size == UInt64(needed) else {
    throw CetError(.shapeMismatch, "'\(name)' has \(source.byte_size) bytes, shape \(shape.shapeText) \(type) needs \(needed)")
      .with(.input, name).with(.expected, "\(needed) bytes").with(.got, "\(source.byte_size) bytes")
  }
  let tensor = try Tensor(uninitialized: type, shape)
  guard needed > 0 else { return tensor }
  guard let data = source.data else { throw invalid("'\(name)' has data NULL") }
  if type == .bool {
    // A Swift Bool must be 0 or 1.
    let bytes = data.assumingMemoryBound(to: UInt8.self)
    let target = tensor.pointer.assumingMemoryBound(to: UInt8.self)
    for index in 0..<count { target[index] = bytes[index] == 0 ? 0 : 1 }
  } else {
    tensor.pointer.copyMemory(from: data, byteCount: needed)
  }
  return tensor
}

private let accepted: Set<ElementType> = [
  .float32, .uint8, .int8, .uint16, .int16, .int32, .int64, .bool, .float16, .float64, .uint32, .uint64, .bfloat16,
]

func copied(_ tensors: UnsafePointer<cet_tensor>?, _ count: Int) throws(CetError) -> [(name: String, tensor: Tensor)] {
  guard count > 0 else { return [] }
  guard count <= 1 << 16 else { throw invalid("argument 'input_count' is \(UInt(bitPattern: count))") }
  let tensors = try required(tensors, "inputs")
  return try (0..<count).map { index throws(CetError) in
    let name = try text(tensors[index].name, "inputs[\(index)].name")
    return (name, try copied(tensors[index], name))
  }
}
