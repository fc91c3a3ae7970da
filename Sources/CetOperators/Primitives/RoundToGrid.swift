import CetTensor

/// y = s·clip(round(x / s), −z, n − z), the values that codes 0 … n of a grid with scale s and zero point z stand for; x as it is
/// where n is 0. The grid is fed: [s, z, n], so that one program serves all grids, and none.
///
/// Ties go to even, as with ONNX's QuantizeLinear; NaN stays. The derivative goes straight through: ẏ = ẋ. It is exact where
/// there is no grid.
public struct RoundToGrid: SeparablePrimitive {
  public init() {}
  public var name: String { "round-to-grid" }

  public func inputAxes(forOutput axis: Int, of call: Call) -> [Int?]? { [axis, nil] }

  public func infer(_ inputs: [TensorType]) throws(CetError) -> [TensorType] {
    guard inputs[0].element == .float32, inputs[1] == TensorType(.float32, [3]) else {
      throw CetError(.shapeMismatch, "\(name) of \(inputs[0].element) by \(inputs[1].shape.shapeText)")
    }
    return [inputs[0]]
  }

  public func run(_ inputs: [Tensor], _ context: ComputeContext) throws(CetError) -> [Tensor] {
    let grid = try inputs[1].array(as: Float.self)
    let (scale, zero, levels) = (grid[0], grid[1], grid[2])
    guard levels > 0 else { return [inputs[0]] }
    return [try TensorMap.unary(inputs[0], context) { (x: Float) in RoundToGrid.rounded(x, scale: scale, zero: zero, levels: levels) }]
  }

  /// Clipped before it is rounded, which is the same between whole numbers. Below 2²² the sum with 1.5 · 2²³ rounds to
  /// even, without a call for each element.
  @inline(__always)
  static func rounded(_ x: Float, scale: Float, zero: Float, levels: Float) -> Float {
    let shift: Float = 0x1.8p23
    let ratio = x / scale
    let low = ratio < -zero ? -zero : ratio
    let inside = low > levels - zero ? levels - zero : low
    return (inside + shift - shift) * scale
  }

  public func jvp(_ call: Call, tangents: [Value?], _ e: Emitter) throws(CetError) -> [Value?] { [tangents[0]] }

  public func vjp(_ call: Call, cotangents: [Value?], wanted: [Bool], _ e: Emitter) throws(CetError) -> [Value?] {
    [wanted[0] ? cotangents[0] : nil, nil]
  }
}
