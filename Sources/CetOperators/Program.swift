import CetTensor

/// What is known of a value before anything runs: a program is bound to concrete shapes.
public struct TensorType: Hashable, Sendable {
  public var element: ElementType
  public var shape: [Int]

  public init(_ element: ElementType, _ shape: [Int]) {
    self.element = element
    self.shape = shape
  }

  public var count: Int { shape.elementCount }
  public var byteCount: Int { count * element.byteWidth }
}

/// A value of a program: its number and its type.
public struct Value: Hashable, Sendable {
  public let id: Int
  public let type: TensorType

  public var shape: [Int] { type.shape }
  public var element: ElementType { type.element }
  public var rank: Int { type.shape.count }
  public var count: Int { type.count }
}

/// One call of a primitive. Inputs and outputs are value numbers.
public struct Step: Sendable {
  public let primitive: any Primitive
  public let inputs: [Int]
  public let outputs: [Int]
  /// The ONNX node that the step came from, for messages.
  public let origin: String
}

/// Where a value comes from.
public enum ValueSource: Sendable {
  /// Fed for every batch (a graph input, the labels, a reference output).
  case input(String)
  /// An initializer that may be replaced or differentiated.
  case parameter(String)
  /// The direction of a directional derivative, by parameter name.
  case tangent(String)
  case constant(Tensor)
  case step(Int)
}

/// Straight-line code over tensors of fixed shapes: steps in execution order, each value made once.
public final class Program: @unchecked Sendable {
  public internal(set) var values: [Value] = []
  public internal(set) var sources: [ValueSource] = []
  public internal(set) var steps: [Step] = []
  /// Bytes of the constants that were computed while it was made: they live as long as it does.
  var computed: MemoryAccount.Share?

  public init() {}

  /// The steps needed for `outputs`, in order.
  public func steps(for outputs: [Value]) -> [Int] { survey(outputs).steps }

  /// For every value whether `outputs` depend on it.
  public func ancestors(of outputs: [Value]) -> [Bool] { survey(outputs).needed }

  private func survey(_ outputs: [Value]) -> (steps: [Int], needed: [Bool]) {
    var needed = [Bool](repeating: false, count: values.count)
    for value in outputs { needed[value.id] = true }
    var kept: [Int] = []
    for index in steps.indices.reversed() {
      let step = steps[index]
      guard step.outputs.contains(where: { needed[$0] }) else { continue }
      kept.append(index)
      for input in step.inputs { needed[input] = true }
    }
    return (kept.reversed(), needed)
  }

  /// For every value whether it depends on one of `roots`.
  public func dependents(of roots: [Value]) -> [Bool] {
    var depends = [Bool](repeating: false, count: values.count)
    for value in roots { depends[value.id] = true }
    for step in steps where step.inputs.contains(where: { depends[$0] }) {
      for output in step.outputs { depends[output] = true }
    }
    return depends
  }
}
