import CetTensor

/// One operation of the executor, with its derivative rules beside it. ONNX operators are lowered to
/// primitives (`OperatorRegistry`); the rules *emit* primitives, so that the derivative of a program is a
/// program and can be differentiated again.
///
/// Zero is `nil`: a rule gets `nil` for a tangent or cotangent that vanishes and returns `nil` for one that
/// does. Outputs that are not differentiable (masks, indices, comparisons) always have the tangent `nil`.
public protocol Primitive: Hashable, Sendable {
  var name: String { get }

  /// Checks the inputs' types and gives the outputs' types.
  func infer(_ inputs: [TensorType]) throws(CetError) -> [TensorType]

  /// Computes. Inputs have the types given to `infer`; any layout.
  func run(_ inputs: [Tensor], _ context: ComputeContext) throws(CetError) -> [Tensor]

  /// What `run` costs, in units of an element that is read or written: about a nanosecond.
  func work(_ inputs: [TensorType], _ outputs: [TensorType]) -> Int

  /// Tangents of the outputs from tangents of the inputs.
  func jvp(_ call: Call, tangents: [Value?], _ e: Emitter) throws(CetError) -> [Value?]

  /// Cotangents of the inputs from cotangents of the outputs. `wanted[i]` is false where the caller has no
  /// use for the cotangent of input i.
  func vjp(_ call: Call, cotangents: [Value?], wanted: [Bool], _ e: Emitter) throws(CetError) -> [Value?]
}

extension Primitive {
  public func work(_ inputs: [TensorType], _ outputs: [TensorType]) -> Int {
    (inputs + outputs).reduce(0) { Int.saturatingSum($0, $1.count) }
  }
}

/// The values at one use of a primitive.
public struct Call: Sendable {
  public let inputs: [Value]
  public let outputs: [Value]

  public init(inputs: [Value], outputs: [Value]) {
    self.inputs = inputs
    self.outputs = outputs
  }
}

/// Primitives with one output that can be added to a tensor while it is computed, for float32.
public protocol AccumulatingPrimitive: Primitive {
  /// The output plus `sum`, which has the output's shape and whose memory may be overwritten or returned.
  func run(_ inputs: [Tensor], addingTo sum: Tensor, _ context: ComputeContext) throws(CetError) -> Tensor
}

/// Primitives of which a part of the outputs, cut out along an axis, is the same primitive of parts of its inputs.
public protocol SeparablePrimitive: Primitive {
  /// For the outputs at some indices of `axis`: by input the axis that is cut to the same indices, nil for an input that is
  /// read whole. nil when the primitive is not separable along the axis.
  func inputAxes(forOutput axis: Int, of call: Call) -> [Int?]?
}

extension SeparablePrimitive {
  /// The rule of everything that acts element by element with broadcasting.
  func broadcastAxes(forOutput axis: Int, of call: Call) -> [Int?] {
    call.inputs.map { input in
      let own = axis - (call.outputs[0].rank - input.rank)
      return own >= 0 && input.shape[own] != 1 ? own : nil
    }
  }
}

/// Primitives whose outputs are piecewise constant in every input: the derivative is zero.
public protocol PiecewiseConstant: Primitive {}

extension PiecewiseConstant {
  public func jvp(_ call: Call, tangents: [Value?], _ e: Emitter) throws(CetError) -> [Value?] {
    call.outputs.map { _ in nil }
  }
  public func vjp(_ call: Call, cotangents: [Value?], wanted: [Bool], _ e: Emitter) throws(CetError) -> [Value?] {
    call.inputs.map { _ in nil }
  }
}

/// Primitives that are linear in their one differentiable input, which is input 0; further inputs are
/// constants of the map (indices). A linear map is its own derivative.
public protocol LinearPrimitive: Primitive {
  /// Aᵀȳ
  func transpose(_ call: Call, _ cotangent: Value, _ e: Emitter) throws(CetError) -> Value?
}

extension LinearPrimitive {
  public func jvp(_ call: Call, tangents: [Value?], _ e: Emitter) throws(CetError) -> [Value?] {
    // ẏ = Aẋ
    guard let tangent = tangents[0] else { return call.outputs.map { _ in nil } }
    return try e.emit(self, [tangent] + call.inputs.dropFirst())
  }
  public func vjp(_ call: Call, cotangents: [Value?], wanted: [Bool], _ e: Emitter) throws(CetError) -> [Value?] {
    var result = [Value?](repeating: nil, count: call.inputs.count)
    if let cotangent = cotangents[0], wanted[0] { result[0] = try transpose(call, cotangent, e) }
    return result
  }
}
