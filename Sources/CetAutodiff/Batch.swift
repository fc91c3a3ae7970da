import CetOperators
import CetTensor

/// Samples that run through the model together.
public struct Batch: Sendable {
  /// Tensors by graph input name; the leading axis counts samples.
  public let inputs: [String: Tensor]
  /// int64, the leading axis counts samples.
  public let labels: Tensor?
  public let sampleCount: Int

  public init(inputs: [String: Tensor], labels: Tensor?, sampleCount: Int) {
    self.inputs = inputs
    self.labels = labels
    self.sampleCount = sampleCount
  }

  /// What a program bound to the batch depends on.
  public var signature: Signature {
    Signature(types: inputs.mapValues { TensorType($0.type, $0.shape) }, labels: labels?.shape)
  }

  public struct Signature: Hashable, Sendable {
    public let types: [String: TensorType]
    public let labels: [Int]?
  }
}

extension Tensor {
  /// Rows `range` of the leading axis, sharing memory. Row-major only.
  public func rows(_ range: Range<Int>) throws -> Tensor {
    guard let size = shape.first, layout == .rowMajor, range.lowerBound >= 0, range.upperBound <= size else {
      throw CetError(.internal, "rows \(range) of \(shape.shapeText)")
    }
    let rowBytes = shape.dropFirst().reduce(1, *) * type.byteWidth
    return try Tensor(
      type: type, shape: [range.count] + shape.dropFirst(), storage: storage,
      byteOffset: byteOffset + range.lowerBound * rowBytes)
  }
}
