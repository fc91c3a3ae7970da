import CKernels

/// Pooling on float32 tensors of any layout; results are channels-last.
public enum Pooling {
  /// The mean of each window. The divisor is the number of taps inside the input, or with `countIncludePad` inside
  /// the padded input. Linear, so it is its own derivative.
  public static func average(
    _ g: PoolingGeometry, countIncludePad: Bool = false, input: Tensor, _ context: ComputeContext
  ) throws(CetError) -> Tensor {
    try input.require(g.inputShape, "pooling input")
    let window = try g.window()
    let input = try input.channelsLast(arena: context.arena)
    let result = try Tensor(uninitialized: .float32, g.outputShape, layout: .channelsLast, arena: context.arena)
    guard result.count > 0 else { return result }
    for n in 0..<g.batch {
      try window.forEachPart(channels: g.channels, context) { part, first in
        ck_average_pool_f32(
          &part, countIncludePad, input.floats + n * g.inputSize, result.floats + n * g.outputSize + first * g.channels, g.channels)
      }
    }
    return result
  }

  /// The transpose of `average`: a gradient of its output becomes one of its input.
  public static func averageTranspose(
    _ g: PoolingGeometry, countIncludePad: Bool = false, outputGradient: Tensor, _ context: ComputeContext
  ) throws(CetError) -> Tensor {
    try outputGradient.require(g.outputShape, "pooling output gradient")
    let window = try g.window()
    let gradient = try outputGradient.channelsLast(arena: context.arena)
    let result = try Tensor.zeros(.float32, g.inputShape, layout: .channelsLast, arena: context.arena)
    guard gradient.count > 0 else { return result }
    for n in 0..<g.batch {
      try window.forEachPart(channels: g.channels, context) { part, first in
        ck_average_pool_transpose_f32(
          &part, countIncludePad, gradient.floats + n * g.outputSize + first * g.channels, result.floats + n * g.inputSize, g.channels)
      }
    }
    return result
  }

  /// The largest value of each window, and where it was: int32 offsets in storage order (spatial..., C) *of one
  /// sample*, so a sample's offsets are the same in any batch. The first of equal values wins. A NaN wins
  /// over every number, so it is never hidden. A window without taps gives the lowest finite float and offset -1.
  public static func maximum(
    _ g: PoolingGeometry, input: Tensor, _ context: ComputeContext
  ) throws(CetError) -> (values: Tensor, indices: Tensor) {
    try input.require(g.inputShape, "pooling input")
    guard g.inputSize <= Int(Int32.max) else {
      throw CetError(.shapeMismatch, "pooling: a sample of \(g.inputShape.shapeText) has more than 2147483647 elements")
    }
    let window = try g.window()
    let input = try input.channelsLast(arena: context.arena)
    let values = try Tensor(uninitialized: .float32, g.outputShape, layout: .channelsLast, arena: context.arena)
    let indices = try Tensor(uninitialized: .int32, g.outputShape, layout: .channelsLast, arena: context.arena)
    guard values.count > 0 else { return (values, indices) }
    for n in 0..<g.batch {
      try window.forEachPart(channels: g.channels, context) { part, first in
        let place = n * g.outputSize + first * g.channels
        ck_max_pool_f32(
          &part, input.floats + n * g.inputSize, values.floats + place, indices.elements(as: Int32.self) + place, g.channels)
      }
    }
    return (values, indices)
  }

  /// out[n][p] = x[n][indices[n][p]]: how the maximum moves with its input. Offset -1 gives 0.
  public static func take(_ x: Tensor, indices: Tensor, _ context: ComputeContext) throws(CetError) -> Tensor {
    try requireIndices(indices, x.shape)
    try x.require(x.shape, "take operand")
    let x = try x.channelsLast(arena: context.arena)
    let indices = try indices.channelsLast(arena: context.arena)
    let result = try Tensor(uninitialized: .float32, indices.shape, layout: .channelsLast, arena: context.arena)
    guard result.count > 0 else { return result }
    let (size, count) = (x.count / x.shape[0], result.count / x.shape[0])
    for n in 0..<x.shape[0] {
      ck_take_f32(
        x.floats + n * size, indices.elements(as: Int32.self) + n * count, result.floats + n * count, size, count)
    }
    return result
  }

  /// The transpose of `take`: result[n][indices[n][p]] += gradient[n][p], in ascending order of p.
  public static func scatterAdd(
    _ gradient: Tensor, indices: Tensor, into shape: [Int], _ context: ComputeContext
  ) throws(CetError) -> Tensor {
    try requireIndices(indices, shape)
    try gradient.require(indices.shape, "scatter gradient")
    let gradient = try gradient.channelsLast(arena: context.arena)
    let indices = try indices.channelsLast(arena: context.arena)
    let result = try Tensor.zeros(.float32, shape, layout: .channelsLast, arena: context.arena)
    guard gradient.count > 0 else { return result }
    let (size, count) = (result.count / shape[0], gradient.count / shape[0])
    for n in 0..<shape[0] {
      ck_scatter_add_f32(
        gradient.floats + n * count, indices.elements(as: Int32.self) + n * count, result.floats + n * size, size,
        count)
    }
    return result
  }

  private static func requireIndices(_ indices: Tensor, _ shape: [Int]) throws(CetError) {
    guard indices.type == .int32, indices.rank >= 3, shape.count == indices.rank, shape[0] == indices.shape[0],
      shape.validatedCount != nil
    else {
      throw CetError(
        .shapeMismatch,
        "pooling indices: expected int32 of the rank and batch of \(shape.shapeText), got \(indices.type) \(indices.shape.shapeText)")
    }
  }
}

extension PoolingGeometry {
  fileprivate func window() throws(CetError) -> ck_window {
    try ck_window(
      input: inputSpatial, kernel: kernel, output: outputSpatial, strides: strides, dilations: dilations,
      padsBegin: padsBegin, padsEnd: padsEnd)
  }
}
