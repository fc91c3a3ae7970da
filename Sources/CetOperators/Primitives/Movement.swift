import CetTensor

/// The same elements in C order under another shape.
public struct Reshape: LinearPrimitive {
  public let shape: [Int]
  public init(_ shape: [Int]) { self.shape = shape }
  public var name: String { "reshape" }

  public func infer(_ inputs: [TensorType]) throws(CetError) -> [TensorType] {
    guard shape.validatedCount == inputs[0].count else {
      throw CetError(.shapeMismatch, "cannot reshape \(inputs[0].shape.shapeText) to \(shape.shapeText)")
    }
    return [TensorType(inputs[0].element, shape)]
  }
  public func run(_ inputs: [Tensor], _ context: ComputeContext) throws(CetError) -> [Tensor] {
    [try inputs[0].reshaped(shape, arena: context.arena)]
  }
  public func transpose(_ call: Call, _ cotangent: Value, _ e: Emitter) throws(CetError) -> Value? {
    try e.reshape(cotangent, call.inputs[0].shape)
  }
}

/// Axis permutation: output axis i is input axis permutation[i].
public struct Transpose: LinearPrimitive, SeparablePrimitive {
  public let permutation: [Int]
  public init(_ permutation: [Int]) { self.permutation = permutation }
  public var name: String { "transpose" }

  public func inputAxes(forOutput axis: Int, of call: Call) -> [Int?]? { [permutation[axis]] }

  public func infer(_ inputs: [TensorType]) throws(CetError) -> [TensorType] {
    guard permutation.sorted() == Array(inputs[0].shape.indices) else {
      throw CetError(.shapeMismatch, "permutation \(permutation) does not fit shape \(inputs[0].shape.shapeText)")
    }
    return [TensorType(inputs[0].element, permutation.map { inputs[0].shape[$0] })]
  }
  public func run(_ inputs: [Tensor], _ context: ComputeContext) throws(CetError) -> [Tensor] {
    [try Movement.transpose(inputs[0], permutation, context)]
  }
  public func transpose(_ call: Call, _ cotangent: Value, _ e: Emitter) throws(CetError) -> Value? {
    var inverse = permutation
    for (to, from) in permutation.enumerated() { inverse[from] = to }
    return try e.emit(Transpose(inverse), cotangent)
  }
}

/// Broadcasts to a shape; the transpose is `SumTo`.
public struct Expand: LinearPrimitive {
  public let shape: [Int]
  public init(_ shape: [Int]) { self.shape = shape }
  public var name: String { "expand" }

  public func infer(_ inputs: [TensorType]) throws(CetError) -> [TensorType] {
    guard broadcastShape(inputs[0].shape, shape) == shape else {
      throw CetError(.shapeMismatch, "shape \(inputs[0].shape.shapeText) does not broadcast to \(shape.shapeText)")
    }
    return [TensorType(inputs[0].element, shape)]
  }
  public func run(_ inputs: [Tensor], _ context: ComputeContext) throws(CetError) -> [Tensor] {
    [try Movement.expand(inputs[0], shape, context)]
  }
  public func transpose(_ call: Call, _ cotangent: Value, _ e: Emitter) throws(CetError) -> Value? {
    try e.sumTo(cotangent, call.inputs[0].shape)
  }
}

/// x[start + i·step]; steps may be negative.
public struct Slice: LinearPrimitive {
  public let starts: [Int]
  public let steps: [Int]
  public let sizes: [Int]
  public init(starts: [Int], steps: [Int], sizes: [Int]) {
    self.starts = starts
    self.steps = steps
    self.sizes = sizes
  }
  public var name: String { "slice" }

  public func infer(_ inputs: [TensorType]) throws(CetError) -> [TensorType] {
    try checkRange(of: inputs[0].shape, starts: starts, steps: steps, sizes: sizes)
    return [TensorType(inputs[0].element, sizes)]
  }
  public func run(_ inputs: [Tensor], _ context: ComputeContext) throws(CetError) -> [Tensor] {
    [try Movement.slice(inputs[0], starts: starts, steps: steps, sizes: sizes, context)]
  }
  public func transpose(_ call: Call, _ cotangent: Value, _ e: Emitter) throws(CetError) -> Value? {
    try e.emit(Embed(into: call.inputs[0].shape, starts: starts, steps: steps), cotangent)
  }
}

/// Writes x into zeros of a larger shape: the transpose of `Slice`, and constant padding.
public struct Embed: LinearPrimitive {
  public let shape: [Int]
  public let starts: [Int]
  public let steps: [Int]
  public init(into shape: [Int], starts: [Int], steps: [Int]) {
    self.shape = shape
    self.starts = starts
    self.steps = steps
  }
  public var name: String { "embed" }

  public func infer(_ inputs: [TensorType]) throws(CetError) -> [TensorType] {
    try checkRange(of: shape, starts: starts, steps: steps, sizes: inputs[0].shape)
    return [TensorType(inputs[0].element, shape)]
  }
  public func run(_ inputs: [Tensor], _ context: ComputeContext) throws(CetError) -> [Tensor] {
    let result = try Tensor.zeros(inputs[0].type, shape, layout: inputs[0].layout, arena: context.arena)
    try Movement.embed(inputs[0], into: result, starts: starts, steps: steps, context)
    return [result]
  }
  public func transpose(_ call: Call, _ cotangent: Value, _ e: Emitter) throws(CetError) -> Value? {
    try e.emit(Slice(starts: starts, steps: steps, sizes: call.inputs[0].shape), cotangent)
  }
}

private func checkRange(of shape: [Int], starts: [Int], steps: [Int], sizes: [Int]) throws(CetError) {
  let fits =
    starts.count == shape.count && steps.count == shape.count && sizes.count == shape.count
    && shape.indices.allSatisfy { axis in
      guard sizes[axis] >= 0 else { return false }
      guard sizes[axis] > 0 else { return true }
      let last = starts[axis] + (sizes[axis] - 1) * steps[axis]
      return starts[axis] >= 0 && starts[axis] < shape[axis] && last >= 0 && last < shape[axis]
    }
  guard fits else {
    throw CetError(.shapeMismatch, "range \(starts) by \(steps) of \(sizes.shapeText) leaves shape \(shape.shapeText)")
  }
}

/// The entries of an axis one by one, each with size 1 there; the transpose is `Concatenate`. One step for all of them:
/// the transposes of as many slices would be as many tensors of zeros as large as the whole.
public struct Unstack: Primitive {
  public let axis: Int
  public init(axis: Int) { self.axis = axis }
  public var name: String { "unstack" }

  public func infer(_ inputs: [TensorType]) throws(CetError) -> [TensorType] {
    guard inputs[0].shape.indices.contains(axis) else {
      throw CetError(.shapeMismatch, "axis \(axis) is outside \(inputs[0].shape.shapeText)")
    }
    var part = inputs[0]
    part.shape[axis] = 1
    return [TensorType](repeating: part, count: inputs[0].shape[axis])
  }

  public func run(_ inputs: [Tensor], _ context: ComputeContext) throws(CetError) -> [Tensor] {
    let whole = inputs[0]
    let count = whole.shape[axis]
    // On axis 0 the entries share memory.
    if axis == 0 {
      let plain = try whole.rowMajor(arena: context.arena)
      var shape = whole.shape
      shape[0] = 1
      let bytes = shape.elementCount * whole.type.byteWidth
      return try (0..<count).map { index throws(CetError) in
        try Tensor(type: whole.type, shape: shape, storage: plain.storage, byteOffset: plain.byteOffset + index * bytes)
      }
    }
    var (starts, sizes) = (whole.shape.map { _ in 0 }, whole.shape)
    sizes[axis] = 1
    return try (0..<count).map { index throws(CetError) in
      starts[axis] = index
      return try Movement.slice(whole, starts: starts, steps: whole.shape.map { _ in 1 }, sizes: sizes, context)
    }
  }

  public func jvp(_ call: Call, tangents: [Value?], _ e: Emitter) throws(CetError) -> [Value?] {
    guard let tangent = tangents[0] else { return call.outputs.map { _ in nil } }
    return try e.emit(self, [tangent])
  }

  public func vjp(_ call: Call, cotangents: [Value?], wanted: [Bool], _ e: Emitter) throws(CetError) -> [Value?] {
    guard wanted[0], cotangents.contains(where: { $0 != nil }) else { return [nil] }
    let parts = try zip(cotangents, call.outputs).map { part, output throws(CetError) in try part.or(e.zeros(output.type)) }
    return try e.emit(Concatenate(axis: axis), parts)
  }
}

/// Joins tensors along an axis.
public struct Concatenate: Primitive {
  public let axis: Int
  public init(axis: Int) { self.axis = axis }
  public var name: String { "concatenate" }

  public func infer(_ inputs: [TensorType]) throws(CetError) -> [TensorType] {
    guard let first = inputs.first, axis >= 0, axis < first.shape.count else {
      throw CetError(.shapeMismatch, "axis \(axis) is outside the shape")
    }
    var shape = first.shape
    for other in inputs.dropFirst() {
      var expected = shape
      expected[axis] = axis < other.shape.count ? other.shape[axis] : 0
      guard other.shape == expected, other.element == first.element else {
        throw CetError(
          .shapeMismatch,
          "cannot join \(first.element) \(first.shape.shapeText) and \(other.element) \(other.shape.shapeText) along axis \(axis)")
      }
      shape[axis] += other.shape[axis]
    }
    return [TensorType(first.element, shape)]
  }

  public func run(_ inputs: [Tensor], _ context: ComputeContext) throws(CetError) -> [Tensor] {
    let shape = try infer(inputs.map { TensorType($0.type, $0.shape) })[0].shape
    let result = try Tensor(uninitialized: inputs[0].type, shape, layout: inputs[0].layout, arena: context.arena)
    var starts = [Int](repeating: 0, count: shape.count)
    for input in inputs {
      try Movement.embed(input, into: result, starts: starts, steps: shape.map { _ in 1 }, context)
      starts[axis] += input.shape[axis]
    }
    return [result]
  }

  public func jvp(_ call: Call, tangents: [Value?], _ e: Emitter) throws(CetError) -> [Value?] {
    guard tangents.contains(where: { $0 != nil }) else { return [nil] }
    return try e.emit(self, zip(tangents, call.inputs).map { part, input throws(CetError) in try part.or(e.zeros(input.type)) })
  }

  public func vjp(_ call: Call, cotangents: [Value?], wanted: [Bool], _ e: Emitter) throws(CetError) -> [Value?] {
    guard let cotangent = cotangents[0] else { return call.inputs.map { _ in nil } }
    var starts = [Int](repeating: 0, count: cotangent.rank)
    let steps = [Int](repeating: 1, count: cotangent.rank)
    return try call.inputs.indices.map { index throws(CetError) in
      let sizes = call.inputs[index].shape
      defer { starts[axis] += sizes[axis] }
      return try wanted[index] ? e.emit(Slice(starts: starts, steps: steps, sizes: sizes), cotangent) : nil
    }
  }
}
