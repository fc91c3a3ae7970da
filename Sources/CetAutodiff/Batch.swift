import CetOperators
import CetTensor

/// Samples that run through the model together.
public struct Batch: Sendable {
  /// Tensors by graph input name.
  public let inputs: [String: Tensor]
  /// The axis of each input that counts samples; an input without one belongs to all samples.
  public let sampleAxes: [String: Int]
  /// int64, the leading axis counts samples.
  public let labels: Tensor?
  public let sampleCount: Int
  /// What a program bound to the batch depends on.
  public let signature: Signature

  /// - Parameter sampleAxes: nil: axis 0 of every input.
  public init(inputs: [String: Tensor], sampleAxes: [String: Int]? = nil, labels: Tensor?, sampleCount: Int) throws(CetError) {
    self.inputs = inputs
    let axes = sampleAxes ?? inputs.mapValues { _ in 0 }
    self.sampleAxes = axes
    self.labels = labels
    self.sampleCount = sampleCount
    // Integers and bools that belong to no sample choose branches and sizes (a sampling rate, a length): programs are
    // made for their values.
    let settings = inputs.filter { axes[$0.key] == nil && !$0.value.type.isFloatingPoint }
    constants = settings
    var values: [String: Signature.Constant] = [:]
    for (name, tensor) in settings {
      values[name] = Signature.Constant(type: TensorType(tensor.type, tensor.shape), bytes: try tensor.bytes())
    }
    signature = Signature(
      types: inputs.filter { settings[$0.key] == nil }.mapValues { TensorType($0.type, $0.shape) },
      constants: values, labels: labels?.shape)
  }

  /// Inputs whose values are part of a program.
  let constants: [String: Tensor]

  /// The samples of a range.
  public func samples(_ range: Range<Int>, labels: Tensor?) throws(CetError) -> Batch {
    let parts = try inputs.map { name, tensor throws(CetError) in
      (name, try sampleAxes[name].map { axis throws(CetError) in try tensor.entries(range, axis: axis) } ?? tensor)
    }
    return try Batch(
      inputs: Dictionary(uniqueKeysWithValues: parts), sampleAxes: sampleAxes, labels: labels, sampleCount: range.count)
  }

  /// One sample.
  public func alone(_ sample: Int) throws(CetError) -> Batch {
    try samples(sample..<sample + 1, labels: labels?.rows(sample..<sample + 1))
  }

  /// A batch of as many samples as this one, all of them copies of one.
  public func filled(with sample: Int) throws(CetError) -> Batch {
    let parts = try inputs.map { name, tensor throws(CetError) in
      (name, try sampleAxes[name].map { axis throws(CetError) in try tensor.rowMajor().repeated(axis, entry: sample) } ?? tensor)
    }
    return try Batch(
      inputs: Dictionary(uniqueKeysWithValues: parts), sampleAxes: sampleAxes, labels: labels, sampleCount: sampleCount)
  }

  public struct Signature: Hashable, Sendable {
    struct Constant: Hashable, Sendable {
      let type: TensorType
      let bytes: [UInt8]
    }
    public let types: [String: TensorType]
    let constants: [String: Constant]
    public let labels: [Int]?
  }
}

extension Tensor {
  /// Rows `range` of the leading axis, sharing memory. Row-major only.
  public func rows(_ range: Range<Int>) throws(CetError) -> Tensor {
    guard let size = shape.first, layout == .rowMajor, range.lowerBound >= 0, range.upperBound <= size else {
      throw CetError(.internal, "rows \(range) of \(shape.shapeText)")
    }
    let rowBytes = shape.dropFirst().reduce(1, *) * type.byteWidth
    return try Tensor(
      type: type, shape: [range.count] + shape.dropFirst(), storage: storage,
      byteOffset: byteOffset + range.lowerBound * rowBytes)
  }

  /// Entries `range` of an axis; shares memory where they lie together. Row-major only.
  public func entries(_ range: Range<Int>, axis: Int) throws(CetError) -> Tensor {
    guard axis > 0 else { return try rows(range) }
    guard axis < rank, layout == .rowMajor, range.lowerBound >= 0, range.upperBound <= shape[axis] else {
      throw CetError(.internal, "entries \(range) on axis \(axis) of \(shape.shapeText)")
    }
    if range == 0..<shape[axis] { return self }
    let inner = shape[(axis + 1)...].reduce(1, *) * type.byteWidth
    var taken = shape
    taken[axis] = range.count
    let result = try Tensor(uninitialized: type, taken)
    for outer in 0..<shape[..<axis].reduce(1, *) {
      (result.pointer + outer * range.count * inner).copyMemory(
        from: pointer + (outer * shape[axis] + range.lowerBound) * inner, byteCount: range.count * inner)
    }
    return result
  }

  /// A tensor of this shape with one entry of an axis in place of all. Row-major only.
  fileprivate func repeated(_ axis: Int, entry: Int) throws(CetError) -> Tensor {
    let one = try entries(entry..<entry + 1, axis: axis)
    let result = try Tensor(uninitialized: type, shape)
    let inner = shape[(axis + 1)...].reduce(1, *) * type.byteWidth
    for outer in 0..<shape[..<axis].reduce(1, *) {
      for place in 0..<shape[axis] {
        (result.pointer + (outer * shape[axis] + place) * inner).copyMemory(
          from: one.pointer + outer * inner, byteCount: inner)
      }
    }
    return result
  }

  fileprivate func bytes() throws(CetError) -> [UInt8] {
    guard layout == .rowMajor else { throw CetError(.internal, "the bytes of a tensor that is not row-major") }
    return withExtendedLifetime(self) { [UInt8](UnsafeRawBufferPointer(start: pointer, count: byteCount)) }
  }
}
