import CetTensor
import Glibc

/// Softmax over the last axis.
public struct Softmax: SeparablePrimitive {
  public let logarithmic: Bool
  public init(logarithmic: Bool = false) { self.logarithmic = logarithmic }
  public var name: String { logarithmic ? "log-softmax" : "softmax" }

  public func inputAxes(forOutput axis: Int, of call: Call) -> [Int?]? { axis == call.outputs[0].rank - 1 ? nil : [axis] }

  public func infer(_ inputs: [TensorType]) throws(CetError) -> [TensorType] {
    guard inputs[0].element.isFloatingPoint, inputs[0].shape.count >= 1 else {
      throw CetError(.shapeMismatch, "\(name) of \(inputs[0].element) \(inputs[0].shape.shapeText)")
    }
    return inputs
  }

  public func run(_ inputs: [Tensor], _ context: ComputeContext) throws(CetError) -> [Tensor] {
    if inputs[0].type == .float64 { return [try inDoublePrecision(inputs[0], context)] }
    guard inputs[0].type == .float32 else {
      let wide = try run([Conversion.convert(inputs[0], to: .float32, context)], context)[0]
      return [try Conversion.convert(wide, to: inputs[0].type, context)]
    }
    let x = try inputs[0].rowMajor(arena: context.arena)
    let width = x.shape[x.rank - 1]
    let result = try Tensor(uninitialized: .float32, x.shape, arena: context.arena)
    guard width > 0 else { return [result] }
    try context.pieces(x.count / width, eachOf: width) { rows in
      let (source, target) = (x.floats + rows.lowerBound * width, result.floats + rows.lowerBound * width)
      if logarithmic {
        Reduction.logSoftmaxRows(source, into: target, rows: rows.count, columns: width)
      } else {
        Reduction.softmaxRows(source, into: target, rows: rows.count, columns: width)
      }
    }
    return [result]
  }

  private func inDoublePrecision(_ input: Tensor, _ context: ComputeContext) throws(CetError) -> Tensor {
    let x = try input.rowMajor(arena: context.arena)
    let result = try Tensor(uninitialized: .float64, x.shape, arena: context.arena)
    let width = x.shape[x.rank - 1]
    guard width > 0 else { return result }
    try context.pieces(x.count / width, eachOf: width) { rows in
      for row in rows {
        let (source, target) = (x.elements(as: Double.self) + row * width, result.elements(as: Double.self) + row * width)
        var (peak, sum) = (-Double.infinity, 0.0)
        for i in 0..<width { peak = max(peak, source[i]) }
        for i in 0..<width { sum += exp(source[i] - peak) }
        for i in 0..<width { target[i] = logarithmic ? source[i] - peak - log(sum) : exp(source[i] - peak) / sum }
      }
    }
    return result
  }

  private func rowSum(_ x: Value, _ e: Emitter) throws(CetError) -> Value { try e.emit(Sum(axes: [x.rank - 1]), x) }

  public func jvp(_ call: Call, tangents: [Value?], _ e: Emitter) throws(CetError) -> [Value?] {
    guard let d = tangents[0] else { return [nil] }
    if logarithmic {  // ẏ = ẋ − Σ p ẋ, p = softmax(x)
      let p = try e.emit(Softmax(), call.inputs[0])
      return [try e.subtract(d, rowSum(e.multiply(p, d), e))]
    }
    return [try symmetric(call, d, e)]
  }

  public func vjp(_ call: Call, cotangents: [Value?], wanted: [Bool], _ e: Emitter) throws(CetError) -> [Value?] {
    guard let g = cotangents[0], wanted[0] else { return [nil] }
    if logarithmic {  // x̄ = ȳ − p Σ ȳ
      let p = try e.emit(Softmax(), call.inputs[0])
      return [try e.subtract(g, e.multiply(p, rowSum(g, e)))]
    }
    return [try symmetric(call, g, e)]
  }

  /// y ⊙ (d − Σ y d): the Jacobian of softmax is symmetric.
  private func symmetric(_ call: Call, _ d: Value, _ e: Emitter) throws(CetError) -> Value {
    let y = call.outputs[0]
    return try e.multiply(y, e.subtract(d, rowSum(e.multiply(y, d), e)))
  }
}
