import CetTensor

/// y = (x − mean)·r and r = 1/√(var + ε) for every row of a matrix (the core of layer normalization). Sums run
/// in double.
///   ẏ = r(ẋ − mean ẋ − y·mean(y ẋ)),  ṙ = −r²·mean(y ẋ)
/// The first map is its own transpose.
public struct Standardize: SeparablePrimitive {
  public let epsilon: Double
  public init(epsilon: Double) { self.epsilon = epsilon }
  public var name: String { "standardize" }

  public func inputAxes(forOutput axis: Int, of call: Call) -> [Int?]? { axis == 0 ? [0] : nil }

  public func infer(_ inputs: [TensorType]) throws(CetError) -> [TensorType] {
    let x = inputs[0]
    guard x.element.isFloatingPoint, x.shape.count == 2, x.shape[1] > 0 else {
      throw CetError(.shapeMismatch, "\(name) of \(x.element) \(x.shape.shapeText)")
    }
    return [x, TensorType(x.element, [x.shape[0], 1])]
  }

  public func run(_ inputs: [Tensor], _ context: ComputeContext) throws(CetError) -> [Tensor] {
    if inputs[0].type == .float64 { return try doubleRows(inputs[0], context) }
    return try inSinglePrecision(inputs, context) { x throws(CetError) in try floatRows(x[0], context) }
  }

  private func floatRows(_ x: Tensor, _ context: ComputeContext) throws(CetError) -> [Tensor] {
    let y = try Tensor(uninitialized: .float32, x.shape, arena: context.arena)
    let inverse = try Tensor(uninitialized: .float32, [x.shape[0], 1], arena: context.arena)
    let width = x.shape[1]
    try context.pieces(x.shape[0], eachOf: width) { rows in
      let first = rows.lowerBound
      Reduction.standardizeRows(
        x.floats + first * width, into: y.floats + first * width, inverse: inverse.floats + first, epsilon: epsilon,
        rows: rows.count, columns: width)
    }
    return [y, inverse]
  }

  private func doubleRows(_ x: Tensor, _ context: ComputeContext) throws(CetError) -> [Tensor] {
    let (count, width) = (x.shape[0], x.shape[1])
    let y = try Tensor(uninitialized: .float64, x.shape, arena: context.arena)
    let inverse = try Tensor(uninitialized: .float64, [count, 1], arena: context.arena)
    for row in 0..<count {
      let source = UnsafePointer(x.elements(as: Double.self)) + row * width
      let target = y.elements(as: Double.self) + row * width
      var (mean, variance) = (0.0, 0.0)
      for i in 0..<width { mean += source[i] }
      mean /= Double(width)
      for i in 0..<width { variance += (source[i] - mean) * (source[i] - mean) }
      let r = 1 / (variance / Double(width) + epsilon).squareRoot()
      for i in 0..<width { target[i] = (source[i] - mean) * r }
      inverse.elements(as: Double.self)[row] = r
    }
    return [y, inverse]
  }

  private func rowMean(_ x: Value, _ e: Emitter) throws(CetError) -> Value {
    try e.scale(e.emit(Sum(axes: [1]), x), by: 1 / Double(x.shape[1]))
  }

  /// r(d − mean d − y·mean(y d))
  private func projected(_ call: Call, _ d: Value, _ e: Emitter) throws(CetError) -> Value {
    let (y, r) = (call.outputs[0], call.outputs[1])
    let along = try e.multiply(y, rowMean(e.multiply(y, d), e))
    return try e.multiply(e.subtract(e.subtract(d, rowMean(d, e)), along), r)
  }

  public func jvp(_ call: Call, tangents: [Value?], _ e: Emitter) throws(CetError) -> [Value?] {
    guard let d = tangents[0] else { return [nil, nil] }
    let (y, r) = (call.outputs[0], call.outputs[1])
    let inverse = try e.negate(e.multiply(e.multiply(r, r), rowMean(e.multiply(y, d), e)))
    return [try projected(call, d, e), inverse]
  }

  public func vjp(_ call: Call, cotangents: [Value?], wanted: [Bool], _ e: Emitter) throws(CetError) -> [Value?] {
    guard wanted[0] else { return [nil] }
    let (y, r) = (call.outputs[0], call.outputs[1])
    let first = try cotangents[0].map { x throws(CetError) in try projected(call, x, e) }
    let second = try cotangents[1].map { g throws(CetError) in  // −r²·r̄·y/n
      let factor = try e.scale(e.multiply(e.multiply(r, r), g), by: -1 / Double(y.shape[1]))
      return try e.multiply(y, factor)
    }
    return [try e.sum(first, second)]
  }
}
