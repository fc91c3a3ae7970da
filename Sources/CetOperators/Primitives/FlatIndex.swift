import CetTensor

/// y[i] = x[indices[i]], indices counting the elements of x in C order; index −1 gives 0. Linear in x.
public struct Take: LinearPrimitive {
  public init() {}
  public var name: String { "take" }

  public func infer(_ inputs: [TensorType]) throws(CetError) -> [TensorType] {
    try requireIndices(inputs[1], name)
    return [TensorType(inputs[0].element, inputs[1].shape)]
  }

  public func run(_ inputs: [Tensor], _ context: ComputeContext) throws(CetError) -> [Tensor] {
    let x = try inputs[0].rowMajor(arena: context.arena)
    let indices = try inputs[1].rowMajor(arena: context.arena)
    let result = try Tensor(uninitialized: x.type, indices.shape, arena: context.arena)
    try requireRange(indices, below: x.count)
    switch x.type.byteWidth {
    case 1: try copy(x, indices, result, zero: UInt8(0), context)
    case 2: try copy(x, indices, result, zero: UInt16(0), context)
    case 4: try copy(x, indices, result, zero: UInt32(0), context)
    case 8: try copy(x, indices, result, zero: UInt64(0), context)
    default: throw CetError(.unsupportedOperator, "\(name) of \(x.type)")
    }
    return [result]
  }

  private func copy<Word>(_ x: Tensor, _ indices: Tensor, _ result: Tensor, zero: Word, _ context: ComputeContext) throws(CetError) {
    let source = x.pointer.assumingMemoryBound(to: Word.self)
    let target = result.pointer.assumingMemoryBound(to: Word.self)
    let index = indices.elements(as: Int64.self)
    try context.pieces(indices.count) { piece in
      for i in piece { target[i] = index[i] < 0 ? zero : source[Int(index[i])] }
    }
  }

  public func transpose(_ call: Call, _ cotangent: Value, _ e: Emitter) throws(CetError) -> Value? {
    try e.emit(ScatterAdd(into: call.inputs[0].shape), cotangent, call.inputs[1])
  }
}

/// y[indices[i]] += x[i] into zeros, in ascending order of i: the transpose of `Take`.
public struct ScatterAdd: LinearPrimitive {
  public let shape: [Int]
  public init(into shape: [Int]) { self.shape = shape }
  public var name: String { "scatter-add" }

  public func infer(_ inputs: [TensorType]) throws(CetError) -> [TensorType] {
    try requireIndices(inputs[1], name)
    guard inputs[0].shape == inputs[1].shape else {
      throw CetError(.shapeMismatch, "\(name): \(inputs[0].shape.shapeText) values for \(inputs[1].shape.shapeText) indices")
    }
    return [TensorType(inputs[0].element, shape)]
  }

  public func run(_ inputs: [Tensor], _ context: ComputeContext) throws(CetError) -> [Tensor] {
    if inputs[0].type == .float16 || inputs[0].type == .bfloat16 {
      let wide = try run([Conversion.convert(inputs[0], to: .float32, context), inputs[1]], context)[0]
      return [try Conversion.convert(wide, to: inputs[0].type, context)]
    }
    let x = try inputs[0].rowMajor(arena: context.arena)
    let indices = try inputs[1].rowMajor(arena: context.arena)
    let result = try Tensor.zeros(x.type, shape, arena: context.arena)
    try requireRange(indices, below: result.count)
    switch x.type {
    case .float32: try add(x, indices, result, context) { (a: Float, b: Float) in a + b }
    case .float64: try add(x, indices, result, context) { (a: Double, b: Double) in a + b }
    case .int32, .uint32: try add(x, indices, result, context) { (a: Int32, b: Int32) in a &+ b }
    case .int64, .uint64: try add(x, indices, result, context) { (a: Int64, b: Int64) in a &+ b }
    case .int16, .uint16: try add(x, indices, result, context) { (a: Int16, b: Int16) in a &+ b }
    case .int8, .uint8: try add(x, indices, result, context) { (a: Int8, b: Int8) in a &+ b }
    default: throw CetError(.unsupportedOperator, "\(name) of \(x.type)")
    }
    return [result]
  }

  private func add<X>(
    _ x: Tensor, _ indices: Tensor, _ result: Tensor, _ context: ComputeContext, _ plus: (X, X) -> X
  ) throws(CetError) {
    let source = x.pointer.assumingMemoryBound(to: X.self)
    let target = result.pointer.assumingMemoryBound(to: X.self)
    let index = indices.elements(as: Int64.self)
    try context.pieces(indices.count) { piece in
      for i in piece where index[i] >= 0 { target[Int(index[i])] = plus(target[Int(index[i])], source[i]) }
    }
  }

  public func transpose(_ call: Call, _ cotangent: Value, _ e: Emitter) throws(CetError) -> Value? {
    try e.emit(Take(), cotangent, call.inputs[1])
  }
}

/// x with y[indices[i]] = u[i] (inputs x, u, indices). Linear in x and u. No index may come twice: the
/// derivative would go to all of them.
public struct Replace: Primitive {
  public init() {}
  public var name: String { "replace" }

  public func infer(_ inputs: [TensorType]) throws(CetError) -> [TensorType] {
    try requireIndices(inputs[2], name)
    guard inputs[1].shape == inputs[2].shape, inputs[0].element == inputs[1].element else {
      throw CetError(
        .shapeMismatch,
        "\(name): \(inputs[1].element) \(inputs[1].shape.shapeText) into \(inputs[0].element), \(inputs[2].shape.shapeText) indices")
    }
    return [inputs[0]]
  }

  public func run(_ inputs: [Tensor], _ context: ComputeContext) throws(CetError) -> [Tensor] {
    let x = try inputs[0].rowMajor(arena: context.arena)
    let updates = try inputs[1].rowMajor(arena: context.arena)
    let indices = try inputs[2].rowMajor(arena: context.arena)
    try requireRange(indices, below: x.count)
    let result = try Tensor(uninitialized: x.type, x.shape, arena: context.arena)
    result.pointer.copyMemory(from: x.pointer, byteCount: x.byteCount)
    switch x.type.byteWidth {
    case 1: try write(updates, indices, result, UInt8.self, context)
    case 2: try write(updates, indices, result, UInt16.self, context)
    case 4: try write(updates, indices, result, UInt32.self, context)
    case 8: try write(updates, indices, result, UInt64.self, context)
    default: throw CetError(.unsupportedOperator, "\(name) of \(x.type)")
    }
    return [result]
  }

  private func write<Word>(_ updates: Tensor, _ indices: Tensor, _ result: Tensor, _: Word.Type, _ context: ComputeContext) throws(CetError) {
    let source = updates.pointer.assumingMemoryBound(to: Word.self)
    let target = result.pointer.assumingMemoryBound(to: Word.self)
    let index = indices.elements(as: Int64.self)
    try context.pieces(indices.count) { piece in
      for i in piece where index[i] >= 0 { target[Int(index[i])] = source[i] }
    }
  }

  // ẏ = ẋ with u̇ in its place
  public func jvp(_ call: Call, tangents: [Value?], _ e: Emitter) throws(CetError) -> [Value?] {
    guard tangents[0] != nil || tangents[1] != nil else { return [nil] }
    let x = try tangents[0].or(e.zeros(call.inputs[0].type))
    let u = try tangents[1].or(e.zeros(call.inputs[1].type))
    return [try e.emit(self, x, u, call.inputs[2])]
  }

  // x̄ = ȳ with zeros in the replaced places; ū = what lies there
  public func vjp(_ call: Call, cotangents: [Value?], wanted: [Bool], _ e: Emitter) throws(CetError) -> [Value?] {
    guard let g = cotangents[0] else { return [nil, nil, nil] }
    return [
      try wanted[0] ? e.emit(self, g, e.zeros(call.inputs[1].type), call.inputs[2]) : nil,
      try wanted[1] ? e.emit(Take(), g, call.inputs[2]) : nil, nil,
    ]
  }
}

/// Indices along one axis (ONNX GatherElements) as C-order element indices of a tensor of `shape`.
public struct ElementIndices: PiecewiseConstant {
  public let axis: Int
  public let shape: [Int]
  public init(axis: Int, of shape: [Int]) {
    self.axis = axis
    self.shape = shape
  }
  public var name: String { "element indices" }

  public func infer(_ inputs: [TensorType]) throws(CetError) -> [TensorType] {
    let sizes = inputs[0].shape
    guard inputs[0].element == .int64, shape.indices.contains(axis), sizes.count == shape.count,
      shape.indices.allSatisfy({ $0 == axis || sizes[$0] <= shape[$0] })
    else {
      throw CetError(
        .shapeMismatch, "indices \(inputs[0].element) \(sizes.shapeText) do not fit \(shape.shapeText) along axis \(axis)")
    }
    return inputs
  }

  public func run(_ inputs: [Tensor], _ context: ComputeContext) throws(CetError) -> [Tensor] {
    let indices = try inputs[0].rowMajor(arena: context.arena)
    let result = try Tensor(uninitialized: .int64, indices.shape, arena: context.arena)
    let strides = shape.rowMajorStrides
    let (source, target) = (indices.elements(as: Int64.self), result.elements(as: Int64.self))
    var position = [Int](repeating: 0, count: shape.count)
    try context.pieces(indices.count) { piece throws(CetError) in
      for i in piece {
        var flat = 0
        for k in position.indices where k != axis { flat += position[k] * strides[k] }
        target[i] = Int64(flat + (try checkedIndex(source[i], below: shape[axis])) * strides[axis])
        advance(&position, indices.shape)
      }
    }
    return [result]
  }
}

/// Index tuples in the last axis (ONNX GatherND) as C-order element indices of a tensor of `shape`; what the
/// tuples leave open is taken whole.
public struct TupleIndices: PiecewiseConstant {
  public let shape: [Int]
  public let batchAxes: Int
  public init(of shape: [Int], batchAxes: Int = 0) {
    self.shape = shape
    self.batchAxes = batchAxes
  }
  public var name: String { "tuple indices" }

  public func infer(_ inputs: [TensorType]) throws(CetError) -> [TensorType] {
    let sizes = inputs[0].shape
    guard inputs[0].element == .int64, let width = sizes.last, batchAxes >= 0, sizes.count > batchAxes,
      width >= 0, batchAxes + width <= shape.count, sizes.prefix(batchAxes) == shape.prefix(batchAxes)
    else {
      throw CetError(.shapeMismatch, "index tuples \(sizes.shapeText) do not fit \(shape.shapeText)")
    }
    return [TensorType(.int64, sizes.dropLast() + shape[(batchAxes + width)...])]
  }

  public func run(_ inputs: [Tensor], _ context: ComputeContext) throws(CetError) -> [Tensor] {
    let indices = try inputs[0].rowMajor(arena: context.arena)
    let type = try infer([TensorType(.int64, indices.shape)])[0]
    let result = try Tensor(uninitialized: .int64, type.shape, arena: context.arena)
    guard result.count > 0, let width = indices.shape.last else { return [result] }
    let strides = shape.rowMajorStrides
    let inner = shape[(batchAxes + width)...].reduce(1, *)
    let tuples = indices.shape.dropLast().reduce(1, *)
    let perBatch = indices.shape.dropLast().dropFirst(batchAxes).reduce(1, *)
    let batchSize = shape[batchAxes...].reduce(1, *)
    let (source, target) = (indices.elements(as: Int64.self), result.elements(as: Int64.self))
    try context.pieces(tuples, eachOf: width + inner) { piece throws(CetError) in
      for t in piece {
        var start = t / max(perBatch, 1) * batchSize
        for k in 0..<width {
          start += try checkedIndex(source[t * width + k], below: shape[batchAxes + k]) * strides[batchAxes + k]
        }
        for i in 0..<inner { target[t * inner + i] = Int64(start + i) }
      }
    }
    return [result]
  }
}

/// A negative index counts from the end.
func checkedIndex(_ index: Int64, below size: Int) throws(CetError) -> Int {
  let row = index < 0 ? Int(index) + size : Int(index)
  guard row >= 0, row < size else {
    throw CetError(.invalidArgument, "index \(index) is outside \(size) elements")
  }
  return row
}

/// The next position in C order.
func advance(_ position: inout [Int], _ shape: [Int]) {
  for axis in shape.indices.reversed() {
    position[axis] += 1
    if position[axis] < shape[axis] { return }
    position[axis] = 0
  }
}

private func requireIndices(_ type: TensorType, _ name: String) throws(CetError) {
  guard type.element == .int64 else { throw CetError(.shapeMismatch, "\(name) needs int64 indices, got \(type.element)") }
}

private func requireRange(_ indices: Tensor, below count: Int) throws(CetError) {
  let index = indices.elements(as: Int64.self)
  for i in 0..<indices.count where index[i] < -1 || index[i] >= count {
    throw CetError(.invalidArgument, "index \(index[i]) is outside \(count) elements")
  }
}
