import CetTensor

/// Sum over axes, which are kept with size 1. The transpose broadcasts.
public struct Sum: LinearPrimitive, SeparablePrimitive {
  public let axes: [Int]
  public init(axes: [Int]) { self.axes = axes.sorted() }
  public var name: String { "sum" }

  public func inputAxes(forOutput axis: Int, of call: Call) -> [Int?]? { axes.contains(axis) ? nil : [axis] }

  public func infer(_ inputs: [TensorType]) throws(CetError) -> [TensorType] {
    [TensorType(inputs[0].element, try reducedShape(inputs[0].shape, axes))]
  }
  public func run(_ inputs: [Tensor], _ context: ComputeContext) throws(CetError) -> [Tensor] {
    if inputs[0].type == .float16 || inputs[0].type == .bfloat16 {
      let wide = try TensorReduction.sum(Conversion.convert(inputs[0], to: .float32, context), axes: axes, context)
      return [try Conversion.convert(wide, to: inputs[0].type, context)]
    }
    return [try TensorReduction.sum(inputs[0], axes: axes, context)]
  }
  public func transpose(_ call: Call, _ cotangent: Value, _ e: Emitter) throws(CetError) -> Value? {
    try e.expand(cotangent, call.inputs[0].shape)
  }
}

/// Maximum or minimum over axes, kept with size 1. The derivative goes to every element that attains the
/// extremum, in equal parts.
public struct Extremum: SeparablePrimitive {
  public let axes: [Int]
  public let largest: Bool
  public init(axes: [Int], largest: Bool) {
    self.axes = axes.sorted()
    self.largest = largest
  }
  public var name: String { largest ? "maximum over axes" : "minimum over axes" }

  public func inputAxes(forOutput axis: Int, of call: Call) -> [Int?]? { axes.contains(axis) ? nil : [axis] }

  public func infer(_ inputs: [TensorType]) throws(CetError) -> [TensorType] {
    [TensorType(inputs[0].element, try reducedShape(inputs[0].shape, axes))]
  }

  public func run(_ inputs: [Tensor], _ context: ComputeContext) throws(CetError) -> [Tensor] {
    if inputs[0].type == .float16 || inputs[0].type == .bfloat16 {
      let wide = try run([Conversion.convert(inputs[0], to: .float32, context)], context)[0]
      return [try Conversion.convert(wide, to: inputs[0].type, context)]
    }
    return [
      try largest
        ? TensorReduction.maximum(inputs[0], axes: axes, context) : TensorReduction.minimum(inputs[0], axes: axes, context)
    ]
  }

  /// 1/(number of ties) where x attains the extremum, else 0.
  private func share(_ call: Call, _ e: Emitter) throws(CetError) -> Value {
    let hits = try e.emit(Convert(to: call.inputs[0].element), e.compare(.equal, call.inputs[0], call.outputs[0]))
    return try e.divide(hits, e.emit(Sum(axes: axes), hits))
  }

  public func jvp(_ call: Call, tangents: [Value?], _ e: Emitter) throws(CetError) -> [Value?] {
    guard let tangent = tangents[0] else { return [nil] }
    return [try e.emit(Sum(axes: axes), e.multiply(share(call, e), tangent))]
  }

  public func vjp(_ call: Call, cotangents: [Value?], wanted: [Bool], _ e: Emitter) throws(CetError) -> [Value?] {
    guard let cotangent = cotangents[0], wanted[0] else { return [nil] }
    return [try e.multiply(share(call, e), cotangent)]
  }
}

/// Product over axes, kept with size 1; differentiable where no factor is zero.
public struct Product: Primitive {
  public let axes: [Int]
  public init(axes: [Int]) { self.axes = axes.sorted() }
  public var name: String { "product over axes" }

  public func infer(_ inputs: [TensorType]) throws(CetError) -> [TensorType] {
    [TensorType(inputs[0].element, try reducedShape(inputs[0].shape, axes))]
  }
  public func run(_ inputs: [Tensor], _ context: ComputeContext) throws(CetError) -> [Tensor] {
    [try TensorReduction.product(inputs[0], axes: axes, context)]
  }
  // ẏ = y Σ ẋ/x
  public func jvp(_ call: Call, tangents: [Value?], _ e: Emitter) throws(CetError) -> [Value?] {
    guard let tangent = tangents[0] else { return [nil] }
    return [try e.multiply(call.outputs[0], e.emit(Sum(axes: axes), e.divide(tangent, call.inputs[0])))]
  }
  // x̄ = ȳ·y/x
  public func vjp(_ call: Call, cotangents: [Value?], wanted: [Bool], _ e: Emitter) throws(CetError) -> [Value?] {
    guard let cotangent = cotangents[0], wanted[0] else { return [nil] }
    return [try e.divide(e.multiply(cotangent, call.outputs[0]), call.inputs[0])]
  }
}

private func reducedShape(_ shape: [Int], _ axes: [Int]) throws(CetError) -> [Int] {
  var result = shape
  for axis in axes {
    guard shape.indices.contains(axis) else {
      throw CetError(.shapeMismatch, "axis \(axis) is outside shape \(shape.shapeText)")
    }
    result[axis] = 1
  }
  return result
}
