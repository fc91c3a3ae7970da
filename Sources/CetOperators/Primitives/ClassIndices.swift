import CetTensor

/// Class numbers, handed through when each names one of `count` classes or is the number to ignore. Comparing with all
/// classes would make any other number a target without a loss.
public struct ClassIndices: PiecewiseConstant {
  public let count: Int
  public let ignored: Int?

  public init(count: Int, ignored: Int? = nil) {
    self.count = count
    self.ignored = ignored
  }

  public var name: String { "class indices" }

  public func infer(_ inputs: [TensorType]) throws(CetError) -> [TensorType] {
    guard inputs[0].element == .int64 else {
      throw CetError(.shapeMismatch, name, expected: "int64", got: "\(inputs[0].element)")
    }
    return inputs
  }

  public func run(_ inputs: [Tensor], _ context: ComputeContext) throws(CetError) -> [Tensor] {
    try check(inputs[0].rowMajor(arena: context.arena)) { "target at element \($0)" }
    return inputs
  }

  /// - Parameter subject: what messages call the class number at an index of the tensor.
  public func check(_ indices: Tensor, _ subject: (Int) -> String) throws(CetError) {
    let values = indices.elements(as: Int64.self)
    for index in 0..<indices.count where values[index] < 0 || values[index] >= count {
      if let ignored, values[index] == ignored { continue }
      throw CetError(
        .invalidArgument, "\(subject(index)) is \(values[index]), expected a class from 0 to \(count - 1)")
    }
  }
}
