import CetGraph
import CetLayers
import CetTensor

public typealias ValueInfo = CetGraph.ValueInfo

extension ValueInfo {
  /// "[batch×3×32×32]", as messages show it.
  var shapeText: String {
    guard let shape else { return "any shape" }
    let sizes = shape.map { dimension -> String in
      switch dimension {
      case .fixed(let size): String(size)
      case .symbolic(let name): name
      case .unknown: "?"
      }
    }
    return "[" + sizes.joined(separator: "×") + "]"
  }
}

/// Throws unless a tensor is what a model input needs. A fixed size of the sample axis must divide the tensor's,
/// because the samples are then fed in batches of that size.
func checkInput(_ info: ValueInfo, _ tensor: Tensor, sampleAxis: Int?) throws(CetError) {
  if let type = info.type, type != tensor.type {
    throw CetError(.invalidArgument, "input '\(info.name)' is \(tensor.type), the model needs \(type)")
      .with(.input, info.name).with(.expected, "\(type)").with(.got, "\(tensor.type)")
  }
  guard let shape = info.shape else { return }
  let mismatch = CetError(
    .shapeMismatch,
    "input '\(info.name)' has shape \(tensor.shape.shapeText), the model needs \(info.shapeText)"
  ).with(.input, info.name).with(.expected, info.shapeText).with(.got, tensor.shape.shapeText)
  guard shape.count == tensor.rank else { throw mismatch }
  for (axis, dimension) in shape.enumerated() {
    guard case .fixed(let size) = dimension else { continue }
    if axis == sampleAxis {
      guard size > 0, tensor.shape[axis] % size == 0 else { throw mismatch }
    } else if size != tensor.shape[axis] {
      throw mismatch
    }
  }
}

/// Throws unless the inputs of a run are what the model needs, and nothing else than what it may be given.
/// - Parameter optional: inputs that take the place of an initializer.
public func checkRunInputs(_ required: [ValueInfo], optional: [ValueInfo] = [], _ inputs: [(String, Tensor)]) throws(CetError) {
  for (index, input) in inputs.enumerated() {
    guard (required + optional).contains(where: { $0.name == input.0 }) else {
      let names = required.map { "'\($0.name)'" }.joined(separator: ", ")
      throw CetError(.invalidArgument, "the model has no input '\(input.0)' (it has \(names))").with(.input, input.0)
    }
    guard !inputs[..<index].contains(where: { $0.0 == input.0 }) else {
      throw CetError(.invalidArgument, "input '\(input.0)' appears twice").with(.input, input.0)
    }
  }
  for info in required {
    guard let input = inputs.first(where: { $0.0 == info.name }) else {
      throw CetError(.invalidArgument, "model input '\(info.name)' is missing").with(.input, info.name)
    }
    try checkInput(info, input.1, sampleAxis: nil)
  }
  for info in optional {
    if let input = inputs.first(where: { $0.0 == info.name }) { try checkInput(info, input.1, sampleAxis: nil) }
  }
}

func checkSampleAxis(_ subject: String, _ tensor: Tensor, _ count: Int) throws(CetError) {
  guard tensor.shape.first == count else {
    throw CetError(
      .shapeMismatch, "\(subject) has shape \(tensor.shape.shapeText), expected \(count) samples on axis 0"
    ).with(.expected, "\(count) samples on axis 0").with(.got, tensor.shape.shapeText)
  }
}

/// Throws when a float tensor has a NaN or an infinity, with the sample's number in the whole set.
func checkFinite(_ subject: String, _ tensor: Tensor, firstSample: Int) throws(CetError) {
  guard let position = firstNonFinite(tensor) else { return }
  let sample = firstSample + (position.first ?? 0)
  let inner = position.dropFirst().map(String.init).joined(separator: ", ")
  throw CetError(.numeric, "\(subject) is NaN or infinite at sample \(sample), position [\(inner)]")
}

/// Labels as int64; throws for other than integers of zero or more.
func classIndices(_ labels: Tensor, firstSample: Int) throws(CetError) -> Tensor {
  func widened<Element: FixedWidthInteger>(_: Element.Type) throws(CetError) -> Tensor {
    let result = try Tensor(uninitialized: .int64, labels.shape)
    let from = labels.pointer.assumingMemoryBound(to: Element.self)
    let to = result.elements(as: Int64.self)
    for index in 0..<labels.count {
      guard let value = Int64(exactly: from[index]), value >= 0 else {
        let sample = firstSample + index / max(1, labels.count / max(1, labels.shape.first ?? 1))
        throw CetError(.invalidArgument, "label \(from[index]) of sample \(sample) is out of range")
      }
      to[index] = value
    }
    return result
  }
  switch labels.type {
  case .int8: return try widened(Int8.self)
  case .uint8: return try widened(UInt8.self)
  case .int16: return try widened(Int16.self)
  case .uint16: return try widened(UInt16.self)
  case .int32: return try widened(Int32.self)
  case .uint32: return try widened(UInt32.self)
  case .int64: return try widened(Int64.self)
  case .uint64: return try widened(UInt64.self)
  default: throw CetError(.invalidArgument, "labels are \(labels.type), expected integers (class indices)")
  }
}

/// float16 and bfloat16 as float32 where a model wants that, which is exact; others as they are.
public func widened(_ tensor: Tensor, for info: ValueInfo?) throws(CetError) -> Tensor {
  guard info?.type == .float32, tensor.type == .float16 || tensor.type == .bfloat16 else { return tensor }
  return try Conversion.convert(tensor, to: .float32, ComputeContext())
}

/// float32 as float16.
func narrowed(_ tensor: Tensor) throws(CetError) -> Tensor {
  let result = try Tensor(uninitialized: .float16, tensor.shape)
  let to = result.pointer.assumingMemoryBound(to: Float16.self)
  for index in 0..<tensor.count { to[index] = Float16(tensor.floats[index]) }
  return result
}
