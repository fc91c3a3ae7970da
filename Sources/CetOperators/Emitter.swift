import CetTensor

/// Appends steps to a program. Calls whose inputs are all constants run at once and become constants, equal
/// calls are made once: shape arithmetic disappears, and a model without free inputs is simply computed.
public final class Emitter {
  public let program: Program
  public let context: ComputeContext
  /// The ONNX node at work, for messages.
  public var origin = ""
  private var known: [CallKey: [Value]] = [:]
  private var scalars: [ScalarKey: Value] = [:]
  /// Work done at once so far.
  public internal(set) var computedWork = 0
  /// Nodes that were lowered so far, and those that were looked at.
  var loweredNodes = 0
  var visitedNodes = 0

  private struct CallKey: Hashable {
    let primitive: AnyHashable
    let inputs: [Int]
  }
  private struct ScalarKey: Hashable {
    let value: Double
    let element: ElementType
  }

  public init(program: Program, context: ComputeContext) {
    self.program = program
    self.context = context
    if program.computed == nil { program.computed = MemoryAccount.Share(of: context.account) }
  }

  // MARK: Values

  public func source(_ source: ValueSource, _ type: TensorType) -> Value {
    let value = Value(id: program.values.count, type: type)
    program.values.append(value)
    program.sources.append(source)
    return value
  }

  public func constant(_ tensor: Tensor) -> Value {
    source(.constant(tensor), TensorType(tensor.type, tensor.shape))
  }

  /// A scalar constant of the given type; equal ones are shared.
  public func scalar(_ number: Double, _ element: ElementType = .float32) throws(CetError) -> Value {
    let key = ScalarKey(value: number, element: element)
    if let value = scalars[key] { return value }
    let value = constant(try Tensor.filled(number, element, []))
    scalars[key] = value
    return value
  }

  public func integers(_ numbers: [Int]) throws(CetError) -> Value {
    let tensor = try Tensor(uninitialized: .int64, [numbers.count])
    let target = tensor.elements(as: Int64.self)
    for place in numbers.indices { target[place] = Int64(numbers[place]) }
    return constant(tensor)
  }

  /// The contents, when they are known before the program runs.
  public func known(_ value: Value) -> Tensor? {
    if case .constant(let tensor) = program.sources[value.id] { return tensor }
    return nil
  }

  // MARK: Calls

  public func emit(_ primitive: any Primitive, _ inputs: [Value]) throws(CetError) -> [Value] {
    let key = CallKey(primitive: AnyHashable(primitive), inputs: inputs.map(\.id))
    if let values = known[key] { return values }
    try context.interruption.check()
    try checkAxes(inputs.map(\.type))
    let types = try primitive.infer(inputs.map(\.type))
    try checkAxes(types)
    for type in types where type.shape.validatedCount == nil {
      throw CetError(.shapeMismatch, "\(primitive.name): shape \(type.shape.shapeText) is negative or too large")
    }
    let constants = inputs.compactMap { known($0) }
    // A reshaped constant shares the memory of its operand.
    if !(primitive is Reshape) { try reserve(types, isComputed: constants.count == inputs.count) }
    let outputs: [Value]
    if constants.count == inputs.count {
      try spend(primitive.work(inputs.map(\.type), types))
      let results = try SerialKernels.run { () throws(CetError) in try primitive.run(constants, context) }
      outputs = results.map { constant($0) }
    } else {
      let index = program.steps.count
      outputs = types.map { source(.step(index), $0) }
      program.steps.append(
        Step(primitive: primitive, inputs: inputs.map(\.id), outputs: outputs.map(\.id), origin: origin))
    }
    known[key] = outputs
    return outputs
  }

  public func emit(_ primitive: any Primitive, _ inputs: Value...) throws(CetError) -> Value {
    let outputs = try emit(primitive, inputs)
    guard outputs.count == 1 else { throw CetError(.internal, "\(primitive.name) has \(outputs.count) outputs") }
    return outputs[0]
  }
}

extension Tensor {
  /// A tensor whose every element is `number`, rounded to the type.
  public static func filled(_ number: Double, _ element: ElementType, _ shape: [Int]) throws(CetError) -> Tensor {
    guard let count = shape.validatedCount else {
      throw CetError(.shapeMismatch, "shape \(shape.shapeText) is negative or too large")
    }
    func made<Element: TensorElement>(_ value: Element) throws(CetError) -> Tensor {
      let tensor = try Tensor(uninitialized: element, shape)
      tensor.elements(as: Element.self).update(repeating: value, count: count)
      return tensor
    }
    switch element {
    case .float32: return try made(Float(number))
    case .float64: return try made(number)
    case .int64: return try made(Int64(exactly: number.rounded()) ?? 0)
    case .int32: return try made(Int32(exactly: number.rounded()) ?? 0)
    case .bool: return try made(number != 0)
    default:
      return try Conversion.convert(try filled(number, .float64, shape), to: element, ComputeContext())
    }
  }
}
