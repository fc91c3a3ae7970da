import CetGraph
import CetTensor

/// Sparse tensors are read as the dense ones that they stand for: every operator takes them so. A file that is written
/// keeps their form, except where an edit gives them other values.
extension ModelReader {
  /// A dense tensor larger than this, or this many times as large as what the file holds, is not made: a few bytes could
  /// ask for any amount of memory.
  private static let (largestDense, largestGrowth) = (1 << 31, 4096)

  /// The name is that of its values. No contents where the element type is not known, or the dense tensor is too large.
  mutating func sparseTensor(_ message: WireReader) throws(CetError) -> ReadTensor {
    var reader = message
    var (valueMessage, indexMessage): (WireReader?, WireReader?)
    var sizes: [Int64] = []
    while let field = try reader.next() {
      switch field.number {
      case SparseTensorField.values: valueMessage = try reader.message(field, after: valueMessage)
      case SparseTensorField.indices: indexMessage = try reader.message(field, after: indexMessage)
      case SparseTensorField.dims: try reader.appendIntegers(field, to: &sizes)
      default: try reader.skip(field)
      }
    }
    let values = try valueMessage.map { (message) throws(CetError) in try tensor(message) }
    let indices = try indexMessage.map { (message) throws(CetError) in try tensor(message) }
    let name = values?.name ?? ""
    guard let values = values?.tensor, let indices = indices?.tensor else { return ReadTensor(name: name, tensor: nil) }
    do {
      return ReadTensor(name: name, tensor: try ModelReader.dense(values, indices, shape: sizes.map { Int($0) }))
    } catch {
      throw error.prefixed("sparse initializer '\(name)': ").with(.initializer, name)
    }
  }

  private static func dense(_ values: Tensor, _ indices: Tensor, shape: [Int]) throws(CetError) -> Tensor? {
    guard let count = shape.validatedCount else {
      throw CetError(.invalidModel, "shape \(shape.shapeText) is negative or too large")
    }
    let stored = values.count
    guard indices.type == .int64, indices.shape == [stored] || indices.shape == [stored, shape.count] else {
      throw CetError(
        .invalidModel,
        "indices are \(indices.type) \(indices.shape.shapeText), \(stored) values of a tensor \(shape.shapeText) need int64 [\(stored)] or [\(stored)×\(shape.count)]")
    }
    let width = values.type.byteWidth
    guard values.type != .string, count <= largestDense / width, count / largestGrowth <= max(stored, 4096) else { return nil }
    let result = try Tensor.zeros(values.type, shape)
    let (from, to) = (UnsafeRawPointer(values.pointer), UnsafeMutableRawPointer(result.pointer))
    let numbers = indices.elements(as: Int64.self)
    for entry in 0..<stored {
      var place = 0
      if indices.rank == 1 {
        place = Int(numbers[entry])
      } else {
        for (axis, size) in shape.enumerated() {
          let index = Int(numbers[entry * shape.count + axis])
          guard index >= 0, index < size else {
            throw CetError(.invalidModel, "index \(index) of value \(entry) is outside axis \(axis) of \(shape.shapeText)")
          }
          place = place * size + index
        }
      }
      guard place >= 0, place < count else {
        throw CetError(.invalidModel, "index \(place) of value \(entry) is outside \(shape.shapeText)")
      }
      (to + place * width).copyMemory(from: from + entry * width, byteCount: width)
    }
    return result
  }
}
