import CetTensor

/// Average pooling; linear.
public struct AveragePool: LinearPrimitive {
  public let geometry: PoolingGeometry
  public let countIncludesPadding: Bool
  public init(_ geometry: PoolingGeometry, countIncludesPadding: Bool) {
    self.geometry = geometry
    self.countIncludesPadding = countIncludesPadding
  }
  public var name: String { "average pooling" }

  public func infer(_ inputs: [TensorType]) throws(CetError) -> [TensorType] {
    try expect(inputs[0], geometry.inputShape, name)
    return [TensorType(inputs[0].element, geometry.outputShape)]
  }
  public func work(_ inputs: [TensorType], _ outputs: [TensorType]) -> Int {
    Int.saturatingProduct(geometry.outputShape.elementCount, geometry.kernel.elementCount)
  }
  public func run(_ inputs: [Tensor], _ context: ComputeContext) throws(CetError) -> [Tensor] {
    try inSinglePrecision(inputs, context) { inputs throws(CetError) in
      [try Pooling.average(geometry, countIncludePad: countIncludesPadding, input: inputs[0], context)]
    }
  }
  public func transpose(_ call: Call, _ cotangent: Value, _ e: Emitter) throws(CetError) -> Value? {
    try e.emit(AveragePoolTranspose(geometry, countIncludesPadding: countIncludesPadding), cotangent)
  }
}

/// Spreads each output's cotangent over its window: the transpose of `AveragePool`.
public struct AveragePoolTranspose: LinearPrimitive {
  public let geometry: PoolingGeometry
  public let countIncludesPadding: Bool
  public init(_ geometry: PoolingGeometry, countIncludesPadding: Bool) {
    self.geometry = geometry
    self.countIncludesPadding = countIncludesPadding
  }
  public var name: String { "average pooling transpose" }

  public func infer(_ inputs: [TensorType]) throws(CetError) -> [TensorType] {
    try expect(inputs[0], geometry.outputShape, name)
    return [TensorType(inputs[0].element, geometry.inputShape)]
  }
  public func work(_ inputs: [TensorType], _ outputs: [TensorType]) -> Int {
    Int.saturatingProduct(geometry.outputShape.elementCount, geometry.kernel.elementCount)
  }
  public func run(_ inputs: [Tensor], _ context: ComputeContext) throws(CetError) -> [Tensor] {
    try inSinglePrecision(inputs, context) { inputs throws(CetError) in
      [try Pooling.averageTranspose(geometry, countIncludePad: countIncludesPadding, outputGradient: inputs[0], context)]
    }
  }
  public func transpose(_ call: Call, _ cotangent: Value, _ e: Emitter) throws(CetError) -> Value? {
    try e.emit(AveragePool(geometry, countIncludesPadding: countIncludesPadding), cotangent)
  }
}

/// Maximum pooling; the second output says which element won (the first one on ties).
public struct MaximumPool: Primitive {
  public let geometry: PoolingGeometry
  public init(_ geometry: PoolingGeometry) { self.geometry = geometry }
  public var name: String { "maximum pooling" }

  public func infer(_ inputs: [TensorType]) throws(CetError) -> [TensorType] {
    try expect(inputs[0], geometry.inputShape, name, integers: true)
    return [TensorType(inputs[0].element, geometry.outputShape), TensorType(.int32, geometry.outputShape)]
  }
  public func work(_ inputs: [TensorType], _ outputs: [TensorType]) -> Int {
    Int.saturatingProduct(geometry.outputShape.elementCount, geometry.kernel.elementCount)
  }
  public func run(_ inputs: [Tensor], _ context: ComputeContext) throws(CetError) -> [Tensor] {
    try inSinglePrecision(inputs, context) { inputs throws(CetError) in
      let (values, indices) = try Pooling.maximum(geometry, input: inputs[0], context)
      return [values, indices]
    }
  }
  public func jvp(_ call: Call, tangents: [Value?], _ e: Emitter) throws(CetError) -> [Value?] {
    [try tangents[0].map { x throws(CetError) in try e.emit(PoolTake(geometry), x, call.outputs[1]) }, nil]
  }
  public func vjp(_ call: Call, cotangents: [Value?], wanted: [Bool], _ e: Emitter) throws(CetError) -> [Value?] {
    guard let cotangent = cotangents[0], wanted[0] else { return [nil] }
    return [try e.emit(PoolScatter(geometry), cotangent, call.outputs[1])]
  }
}

/// The winners' places as ONNX numbers them: offsets into the whole (N, C, spatial...) tensor, with the spatial
/// axes in row-major or column-major order.
public struct PoolIndices: PiecewiseConstant {
  public let geometry: PoolingGeometry
  public let columnMajor: Bool
  public init(_ geometry: PoolingGeometry, columnMajor: Bool) {
    self.geometry = geometry
    self.columnMajor = columnMajor
  }
  public var name: String { "pooling indices" }

  public func infer(_ inputs: [TensorType]) throws(CetError) -> [TensorType] {
    guard inputs[0] == TensorType(.int32, geometry.outputShape) else {
      throw CetError(.shapeMismatch, "\(name) of \(inputs[0].element) \(inputs[0].shape.shapeText)")
    }
    return [TensorType(.int64, geometry.outputShape)]
  }

  public func run(_ inputs: [Tensor], _ context: ComputeContext) throws(CetError) -> [Tensor] {
    let offsets = try inputs[0].rowMajor(arena: context.arena)
    let result = try Tensor(uninitialized: .int64, geometry.outputShape, arena: context.arena)
    let (source, target) = (offsets.elements(as: Int32.self), result.elements(as: Int64.self))
    let (channels, spatial) = (geometry.channels, geometry.inputSpatial)
    let area = spatial.reduce(1, *)
    let own = spatial.rowMajorStrides
    let wanted: [Int] = columnMajor ? spatial.indices.map { spatial[..<$0].reduce(1, *) } : own
    let perPlane = geometry.outputSpatial.reduce(1, *)
    for i in 0..<result.count {
      let plane = i / max(perPlane, 1)  // n·C + c
      let place = Int(source[i]) / max(channels, 1)
      var offset = 0
      for axis in spatial.indices { offset += place / own[axis] % spatial[axis] * wanted[axis] }
      target[i] = source[i] < 0 ? 0 : Int64(plane * area + offset)
    }
    return [result]
  }
}

/// Picks the winners' elements of x by the indices of `MaximumPool`.
public struct PoolTake: LinearPrimitive {
  public let geometry: PoolingGeometry
  public init(_ geometry: PoolingGeometry) { self.geometry = geometry }
  public var name: String { "pooling take" }

  public func infer(_ inputs: [TensorType]) throws(CetError) -> [TensorType] {
    try expect(inputs[0], geometry.inputShape, name)
    return [TensorType(inputs[0].element, geometry.outputShape)]
  }
  public func run(_ inputs: [Tensor], _ context: ComputeContext) throws(CetError) -> [Tensor] {
    try inSinglePrecision(inputs, context) { inputs throws(CetError) in
      [try Pooling.take(inputs[0], indices: inputs[1], context)]
    }
  }
  public func transpose(_ call: Call, _ cotangent: Value, _ e: Emitter) throws(CetError) -> Value? {
    try e.emit(PoolScatter(geometry), cotangent, call.inputs[1])
  }
}

/// Adds every cotangent to its winner: the transpose of `PoolTake`.
public struct PoolScatter: LinearPrimitive {
  public let geometry: PoolingGeometry
  public init(_ geometry: PoolingGeometry) { self.geometry = geometry }
  public var name: String { "pooling scatter" }

  public func infer(_ inputs: [TensorType]) throws(CetError) -> [TensorType] {
    try expect(inputs[0], geometry.outputShape, name)
    return [TensorType(inputs[0].element, geometry.inputShape)]
  }
  public func run(_ inputs: [Tensor], _ context: ComputeContext) throws(CetError) -> [Tensor] {
    try inSinglePrecision(inputs, context) { inputs throws(CetError) in
      [try Pooling.scatterAdd(inputs[0], indices: inputs[1], into: geometry.inputShape, context)]
    }
  }
  public func transpose(_ call: Call, _ cotangent: Value, _ e: Emitter) throws(CetError) -> Value? {
    try e.emit(PoolTake(geometry), cotangent, call.inputs[1])
  }
}

private func expect(_ type: TensorType, _ shape: [Int], _ name: String, integers: Bool = false) throws(CetError) {
  let small: Set<ElementType> = [.int8, .uint8]
  guard type.element.isFloatingPoint || (integers && small.contains(type.element)), type.shape == shape else {
    throw CetError(
      .shapeMismatch, "\(name) expects floating-point \(shape.shapeText), got \(type.element) \(type.shape.shapeText)")
  }
}

/// Runs a float32 kernel for operands of another type: converts what is not float32 or an index, and the
/// results back. 8-bit integers pass unharmed.
func inSinglePrecision(
  _ inputs: [Tensor], _ context: ComputeContext, _ kernel: ([Tensor]) throws(CetError) -> [Tensor]
) throws(CetError) -> [Tensor] {
  let type = inputs[0].type
  if type == .float32 { return try kernel(inputs) }
  let results = try kernel(
    inputs.map { x throws(CetError) in x.type == type ? try Conversion.convert(x, to: .float32, context) : x })
  return try results.map { x throws(CetError) in x.type == .float32 ? try Conversion.convert(x, to: type, context) : x }
}
