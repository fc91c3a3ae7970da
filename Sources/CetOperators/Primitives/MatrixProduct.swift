import CetTensor

/// op(A)·op(B) over the last two axes, op being the identity or the transposition; leading axes broadcast.
public struct MatrixProduct: AccumulatingPrimitive, SeparablePrimitive {
  public let transposeLeft: Bool
  public let transposeRight: Bool
  public init(transposeLeft: Bool = false, transposeRight: Bool = false) {
    self.transposeLeft = transposeLeft
    self.transposeRight = transposeRight
  }
  public var name: String { "matrix product" }

  /// Rows of A, or matrices of the leading axes. Columns of B stay whole: they are weights.
  public func inputAxes(forOutput axis: Int, of call: Call) -> [Int?]? {
    let (a, rank) = (call.inputs[0], call.outputs[0].rank)
    if axis == rank - 1 { return nil }
    if axis == rank - 2 { return [transposeLeft ? a.rank - 1 : a.rank - 2, nil] }
    return broadcastAxes(forOutput: axis, of: call)
  }

  public func infer(_ inputs: [TensorType]) throws(CetError) -> [TensorType] {
    let (a, b) = (inputs[0], inputs[1])
    guard a.shape.count >= 2, b.shape.count >= 2, a.element == b.element,
      let batch = broadcastShape(Array(a.shape.dropLast(2)), Array(b.shape.dropLast(2)))
    else { throw mismatch(a, b) }
    let (m, k) = rows(a.shape, transposeLeft)
    let (k2, n) = rows(b.shape, transposeRight)
    guard k == k2 else { throw mismatch(a, b) }
    return [TensorType(a.element, batch + [m, n])]
  }

  private func rows(_ shape: [Int], _ transposed: Bool) -> (Int, Int) {
    let (r, c) = (shape[shape.count - 2], shape[shape.count - 1])
    return transposed ? (c, r) : (r, c)
  }

  private func mismatch(_ a: TensorType, _ b: TensorType) -> CetError {
    CetError(
      .shapeMismatch,
      "cannot multiply \(a.element) \(a.shape.shapeText)\(transposeLeft ? "ᵀ" : "") by \(b.element) \(b.shape.shapeText)\(transposeRight ? "ᵀ" : "")")
  }

  public func work(_ inputs: [TensorType], _ outputs: [TensorType]) -> Int {
    let (_, depth) = rows(inputs[0].shape, transposeLeft)
    let products = Int.saturatingProduct(outputs[0].count, depth)
    return inputs[0].element.isFloatingPoint ? products / 32 + outputs[0].count : products
  }

  public func run(_ inputs: [Tensor], _ context: ComputeContext) throws(CetError) -> [Tensor] {
    if inputs[0].type == .float16 || inputs[0].type == .bfloat16 {
      let wide = try run(inputs.map { x throws(CetError) in try Conversion.convert(x, to: .float32, context) }, context)[0]
      return [try Conversion.convert(wide, to: inputs[0].type, context)]
    }
    return [
      try Matmul.multiply(
        inputs[0], transposed: transposeLeft, inputs[1], transposed: transposeRight, addingTo: nil, context)
    ]
  }

  public func run(_ inputs: [Tensor], addingTo sum: Tensor, _ context: ComputeContext) throws(CetError) -> Tensor {
    try Matmul.multiply(
      inputs[0], transposed: transposeLeft, inputs[1], transposed: transposeRight, addingTo: sum, context)
  }

  public func jvp(_ call: Call, tangents: [Value?], _ e: Emitter) throws(CetError) -> [Value?] {
    // ẏ = Ȧ·B + A·Ḃ
    let left = try tangents[0].map { x throws(CetError) in try e.emit(self, x, call.inputs[1]) }
    let right = try tangents[1].map { x throws(CetError) in try e.emit(self, call.inputs[0], x) }
    return [try e.sum(left, right)]
  }

  public func vjp(_ call: Call, cotangents: [Value?], wanted: [Bool], _ e: Emitter) throws(CetError) -> [Value?] {
    guard let g = cotangents[0], call.inputs[0].element.isFloatingPoint else { return [nil, nil] }
    let (a, b) = (call.inputs[0], call.inputs[1])
    func product(_ x: Value, _ tx: Bool, _ y: Value, _ ty: Bool) throws(CetError) -> Value {
      try e.emit(MatrixProduct(transposeLeft: tx, transposeRight: ty), x, y)
    }
    var result: [Value?] = [nil, nil]
    if wanted[0] {  // Ā = Ȳ·op(B)ᵀ, or op(B)·Ȳᵀ where A enters transposed
      let full = try transposeLeft ? product(b, transposeRight, g, true) : product(g, false, b, !transposeRight)
      result[0] = try e.sumTo(full, a.shape)
    }
    if wanted[1], !transposeLeft, a.rank > 2, b.rank == 2 {
      // One B for all leading axes: their sum is a single product over all rows of A and Ȳ.
      let rows = a.shape.dropLast().reduce(1, *)
      let x = try e.reshape(a, [rows, a.shape[a.rank - 1]])
      let y = try e.reshape(g, [rows, g.shape[g.rank - 1]])
      result[1] = try transposeRight ? product(y, true, x, false) : product(x, true, y, false)
    } else if wanted[1] {  // B̄ = op(A)ᵀ·Ȳ, or Ȳᵀ·op(A) where B enters transposed
      let full = try transposeRight ? product(g, true, a, transposeLeft) : product(a, !transposeLeft, g, false)
      result[1] = try e.sumTo(full, b.shape)
    }
    return result
  }
}
