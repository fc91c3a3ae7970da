import CetTensor

/// x[..., indices, ...] along an axis (ONNX Gather); negative indices count from the end. Linear in x.
public struct Gather: LinearPrimitive {
  public let axis: Int
  public init(axis: Int) { self.axis = axis }
  public var name: String { "gather" }

  public func infer(_ inputs: [TensorType]) throws(CetError) -> [TensorType] {
    let (x, indices) = (inputs[0], inputs[1])
    guard axis >= 0, axis < x.shape.count, indices.element == .int64 else {
      throw CetError(.shapeMismatch, "gather along axis \(axis) of \(x.shape.shapeText) with \(indices.element) indices")
    }
    return [TensorType(x.element, Array(x.shape[..<axis]) + indices.shape + Array(x.shape[(axis + 1)...]))]
  }

  public func run(_ inputs: [Tensor], _ context: ComputeContext) throws(CetError) -> [Tensor] {
    let x = try inputs[0].rowMajor(arena: context.arena)
    let indices = try inputs[1].rowMajor(arena: context.arena)
    let shape = try infer([TensorType(x.type, x.shape), TensorType(indices.type, indices.shape)])[0].shape
    let result = try Tensor(uninitialized: x.type, shape, arena: context.arena)
    let size = x.shape[axis]
    try checkIndices(indices, below: size)
    let (count, index) = (indices.count, indices.elements(as: Int64.self))
    let inner = x.shape[(axis + 1)...].reduce(1, *) * x.type.byteWidth
    for o in 0..<x.shape[..<axis].reduce(1, *) {
      try context.pieces(count, eachOf: inner / 4) { piece in
        if inner == 4 {  // single float32 elements
          let source = x.pointer.assumingMemoryBound(to: UInt32.self) + o * size
          let target = result.pointer.assumingMemoryBound(to: UInt32.self) + o * count
          for k in piece { target[k] = source[row(index[k], of: size)] }
        } else {
          for k in piece {
            (result.pointer + (o * count + k) * inner)
              .copyMemory(from: x.pointer + (o * size + row(index[k], of: size)) * inner, byteCount: inner)
          }
        }
      }
    }
    return [result]
  }

  public func transpose(_ call: Call, _ cotangent: Value, _ e: Emitter) throws(CetError) -> Value? {
    try e.emit(GatherTranspose(axis: axis, shape: call.inputs[0].shape), cotangent, call.inputs[1])
  }
}

/// Adds rows back where `Gather` took them from.
public struct GatherTranspose: LinearPrimitive {
  public let axis: Int
  public let shape: [Int]
  public init(axis: Int, shape: [Int]) {
    self.axis = axis
    self.shape = shape
  }
  public var name: String { "gather transpose" }

  public func infer(_ inputs: [TensorType]) throws(CetError) -> [TensorType] {
    let expected = try Gather(axis: axis).infer([TensorType(inputs[0].element, shape), inputs[1]])[0]
    guard inputs[0] == expected, inputs[0].element.isFloatingPoint else {
      throw CetError(.shapeMismatch, "gather transpose expects floating-point \(expected.shape.shapeText), got \(inputs[0].element) \(inputs[0].shape.shapeText)")
    }
    return [TensorType(inputs[0].element, shape)]
  }

  public func run(_ inputs: [Tensor], _ context: ComputeContext) throws(CetError) -> [Tensor] {
    if inputs[0].type == .float64 { return [try add(inputs, context, Double.self)] }
    return try inSinglePrecision(inputs, context) { inputs throws(CetError) in [try add(inputs, context, Float.self)] }
  }

  private func add<F: BinaryFloatingPoint & TensorElement>(
    _ inputs: [Tensor], _ context: ComputeContext, _: F.Type
  ) throws(CetError) -> Tensor {
    let g = try inputs[0].rowMajor(arena: context.arena)
    let indices = try inputs[1].rowMajor(arena: context.arena)
    let result = try Tensor.zeros(F.elementType, shape, arena: context.arena)
    let size = shape[axis]
    try checkIndices(indices, below: size)
    let (count, index) = (indices.count, indices.elements(as: Int64.self))
    let inner = shape[(axis + 1)...].reduce(1, *)
    for o in 0..<shape[..<axis].reduce(1, *) {
      try context.pieces(count, eachOf: inner) { piece in
        for k in piece {
          let source = g.elements(as: F.self) + (o * count + k) * inner
          let target = result.elements(as: F.self) + (o * size + row(index[k], of: size)) * inner
          for i in 0..<inner { target[i] += source[i] }
        }
      }
    }
    return result
  }

  public func transpose(_ call: Call, _ cotangent: Value, _ e: Emitter) throws(CetError) -> Value? {
    try e.emit(Gather(axis: axis), cotangent, call.inputs[1])
  }
}

private func checkIndices(_ indices: Tensor, below size: Int) throws(CetError) {
  let index = indices.elements(as: Int64.self)
  for k in 0..<indices.count where index[k] >= size || index[k] < -size {
    throw CetError(.invalidArgument, "index \(index[k]) is outside \(size) rows")
  }
}

/// Of an index that was checked; negative ones count from the end.
@inline(__always)
private func row(_ index: Int64, of size: Int) -> Int { index < 0 ? Int(index) + size : Int(index) }
