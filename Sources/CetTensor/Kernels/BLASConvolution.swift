import CKernels
import COpenBLAS

/// The convolution triangle on matrix products over tiles of columns (im2col), for builds without oneDNN and for
/// what it refuses. Operands are validated, activations channels-last, weights row-major.
enum BLASConvolution {
  static func forward(
    _ g: ConvolutionGeometry, input: Tensor, weight: Tensor, bias: Tensor?, addingTo: Tensor?, _ context: ComputeContext
  ) throws(CetError) -> Tensor {
    let plan = try Plan(g, context)
    let result = try addingTo.or(.zeros(.float32, g.outputShape, layout: .channelsLast, arena: context.arena))
    if let bias {
      ck_add_row_f32(result.floats, bias.floats, result.floats, g.batch * plan.positions, g.outputChannels)
    }
    let packed = try plan.pack(weight)
    if plan.isDepthwise {
      for n in 0..<g.batch {
        let x = try plan.expanded(input, sample: n)
        try plan.window.forEachPart(channels: g.outputChannels, context) { part, first in
          ck_depthwise_f32(
            &part, x, packed.floats, result.floats + n * plan.outputSize + first * g.outputChannels, g.outputChannels)
        }
      }
      return result
    }
    try plan.forEachTile { n, group, first, count throws(CetError) in
      let x = input.floats + n * plan.inputSize + group * plan.groupInputs
      let columns = plan.columns(x, first, count)
      let y = result.floats + n * plan.outputSize + first * g.outputChannels + group * plan.groupOutputs
      try plan.multiply(
        columns.pointer, columns.stride, false, packed.floats + group * plan.depth * plan.groupOutputs,
        plan.groupOutputs, false, y, g.outputChannels, count, plan.groupOutputs, plan.depth, beta: 1)
    }
    return result
  }

  static func inputGradient(
    _ g: ConvolutionGeometry, outputGradient: Tensor, weight: Tensor, addingTo: Tensor?, _ context: ComputeContext
  ) throws(CetError) -> Tensor {
    let plan = try Plan(g, context)
    let result = try addingTo.or(.zeros(.float32, g.inputShape, layout: .channelsLast, arena: context.arena))
    let packed = try plan.pack(weight)
    if plan.isDepthwise {
      for n in 0..<g.batch {
        let target = plan.expandedTarget(result, sample: n)
        try plan.window.forEachPart(channels: g.outputChannels, context) { part, first in
          ck_depthwise_input_gradient_f32(
            &part, outputGradient.floats + n * plan.outputSize + first * g.outputChannels, packed.floats, target, g.outputChannels)
        }
        plan.collapse(target, into: result, sample: n)
      }
      return result
    }
    try plan.forEachTile { n, group, first, count throws(CetError) in
      let y = outputGradient.floats + n * plan.outputSize + first * g.outputChannels + group * plan.groupOutputs
      let x = result.floats + n * plan.inputSize + group * plan.groupInputs
      let factors = packed.floats + group * plan.depth * plan.groupOutputs
      if plan.isPointwise {
        try plan.multiply(
          y, g.outputChannels, false, factors, plan.groupOutputs, true, x + first * g.inputChannels, g.inputChannels,
          count, plan.depth, plan.groupOutputs, beta: 1)
      } else {
        try plan.multiply(
          y, g.outputChannels, false, factors, plan.groupOutputs, true, plan.tile, plan.depth, count, plan.depth,
          plan.groupOutputs, beta: 0)
        ck_col2im_f32(&plan.window, plan.tile, x, g.inputChannels, plan.groupInputs, first, count)
      }
    }
    return result
  }

  static func weightGradient(
    _ g: ConvolutionGeometry, input: Tensor, outputGradient: Tensor, addingTo: Tensor?, _ context: ComputeContext
  ) throws(CetError) -> Tensor {
    let plan = try Plan(g, context)
    let result = try addingTo.or(.zeros(.float32, g.weightShape, arena: context.arena))
    if plan.isDepthwise {
      let sums = try Tensor.zeros(.float64, [plan.taps, g.outputChannels], arena: context.arena)
      for n in 0..<g.batch {
        let x = try plan.expanded(input, sample: n)
        try plan.window.forEachPart(channels: g.outputChannels, splitsLines: false, context) { part, first in
          ck_depthwise_weight_gradient_f32(
            &part, x, outputGradient.floats + n * plan.outputSize + first * g.outputChannels, sums.elements(), g.outputChannels)
        }
      }
      let source = sums.elements(as: Double.self)
      for o in 0..<g.outputChannels {
        for tap in 0..<plan.taps { result.floats[o * plan.taps + tap] += Float(source[tap * g.outputChannels + o]) }
      }
      return result
    }
    let packed = try Tensor.zeros(.float32, [g.groups, plan.depth, plan.groupOutputs], arena: context.arena)
    try plan.forEachTile { n, group, first, count throws(CetError) in
      let x = input.floats + n * plan.inputSize + group * plan.groupInputs
      let columns = plan.columns(x, first, count)
      let y = outputGradient.floats + n * plan.outputSize + first * g.outputChannels + group * plan.groupOutputs
      try plan.multiply(
        columns.pointer, columns.stride, true, y, g.outputChannels, false,
        packed.floats + group * plan.depth * plan.groupOutputs, plan.groupOutputs, plan.depth, plan.groupOutputs, count,
        beta: 1)
    }
    plan.forEachWeight { plain, blocked in result.floats[plain] += packed.floats[blocked] }
    return result
  }

  /// Sizes and temporary memory of one call.
  private final class Plan {
    let g: ConvolutionGeometry
    var window: ck_window
    let groupInputs: Int
    let groupOutputs: Int
    let taps: Int
    /// Length of a column: one weight of one output channel.
    let depth: Int
    let positions: Int
    let inputSize: Int
    let outputSize: Int
    let isDepthwise: Bool
    /// The columns are the input itself.
    let isPointwise: Bool
    private let rows: Int
    private let scratch: Tensor
    private let context: ComputeContext
    var tile: UnsafeMutablePointer<Float> { scratch.floats }

    init(_ g: ConvolutionGeometry, _ context: ComputeContext) throws(CetError) {
      self.g = g
      self.context = context
      window = try ck_window(
        input: g.inputSpatial, kernel: g.kernel, output: g.outputSpatial, strides: g.strides, dilations: g.dilations,
        padsBegin: g.padsBegin, padsEnd: g.padsEnd)
      groupInputs = g.inputChannels / g.groups
      groupOutputs = g.outputChannels / g.groups
      taps = g.kernel.elementCount
      depth = taps * groupInputs
      positions = g.outputSpatial.elementCount
      inputSize = g.inputSpatial.elementCount * g.inputChannels
      outputSize = positions * g.outputChannels
      isDepthwise = groupInputs == 1 && g.groups > 1
      isPointwise =
        taps == 1 && g.strides.allSatisfy { $0 == 1 } && g.padsBegin.allSatisfy { $0 == 0 }
        && g.padsEnd.allSatisfy { $0 == 0 }
      // Tiles of about a megabyte stay in the second-level cache.
      rows = min(positions, max(32, (1 << 18) / max(depth, 1)))
      let expands = isDepthwise && groupOutputs > 1
      let floats = isDepthwise ? (expands ? g.inputSpatial.elementCount * g.outputChannels : 0) : isPointwise ? 0 : rows * depth
      scratch = try Tensor(uninitialized: .float32, [floats], arena: context.arena)
    }

    /// Calls `body(sample, group, first position, count)` in a fixed order.
    func forEachTile(_ body: (Int, Int, Int, Int) throws(CetError) -> Void) throws(CetError) {
      for n in 0..<g.batch {
        for group in 0..<g.groups {
          for first in stride(from: 0, to: positions, by: rows) {
            try context.interruption.check()
            try body(n, group, first, min(rows, positions - first))
          }
        }
      }
    }

    func columns(
      _ x: UnsafePointer<Float>, _ first: Int, _ count: Int
    ) -> (pointer: UnsafePointer<Float>, stride: Int) {
      if isPointwise { return (x + first * g.inputChannels, g.inputChannels) }
      ck_im2col_f32(&window, x, tile, g.inputChannels, groupInputs, first, count)
      return (UnsafePointer(tile), depth)
    }

    /// Offsets of every weight in plain (O, I/groups, taps) and packed (groups, taps, I/groups, O/groups) order;
    /// for depthwise weights the packed order is (taps, O).
    func forEachWeight(_ body: (Int, Int) -> Void) {
      for group in 0..<g.groups {
        for o in 0..<groupOutputs {
          for i in 0..<groupInputs {
            let plain = ((group * groupOutputs + o) * groupInputs + i) * taps
            for tap in 0..<taps {
              let blocked =
                isDepthwise
                ? tap * g.outputChannels + group * groupOutputs + o
                : ((group * taps + tap) * groupInputs + i) * groupOutputs + o
              body(plain + tap, blocked)
            }
          }
        }
      }
    }

    func pack(_ weight: Tensor) throws(CetError) -> Tensor {
      let packed = try Tensor(uninitialized: .float32, [weight.count], arena: context.arena)
      let (source, target) = (weight.floats, packed.floats)
      forEachWeight { plain, blocked in target[blocked] = source[plain] }
      return packed
    }

    /// A depthwise sample with every input channel repeated for each of its outputs.
    func expanded(_ input: Tensor, sample: Int) throws(CetError) -> UnsafePointer<Float> {
      let x = input.floats + sample * inputSize
      if groupOutputs == 1 { return UnsafePointer(x) }
      for index in 0..<inputSize {
        for o in 0..<groupOutputs { tile[index * groupOutputs + o] = x[index] }
      }
      return UnsafePointer(tile)
    }

    func expandedTarget(_ result: Tensor, sample: Int) -> UnsafeMutablePointer<Float> {
      if groupOutputs == 1 { return result.floats + sample * inputSize }
      tile.update(repeating: 0, count: inputSize * groupOutputs)
      return tile
    }

    func collapse(_ source: UnsafeMutablePointer<Float>, into result: Tensor, sample: Int) {
      guard groupOutputs > 1 else { return }
      let x = result.floats + sample * inputSize
      for index in 0..<inputSize {
        for o in 0..<groupOutputs { x[index] += source[index * groupOutputs + o] }
      }
    }

    func multiply(
      _ a: UnsafePointer<Float>, _ strideA: Int, _ transposeA: Bool, _ b: UnsafePointer<Float>, _ strideB: Int,
      _ transposeB: Bool, _ c: UnsafeMutablePointer<Float>, _ strideC: Int, _ m: Int, _ n: Int, _ k: Int, beta: Float
    ) throws(CetError) {
      try SingleMatrix.multiply(
        a, stride: strideA, transposed: transposeA, b, stride: strideB, transposed: transposeB, into: c,
        stride: strideC, beta: beta, m, n, k)
    }
  }
}

extension ck_window {
  /// Up to three spatial axes; sizes were validated by the caller's geometry.
  init(
    input: [Int], kernel: [Int], output: [Int], strides: [Int], dilations: [Int], padsBegin: [Int], padsEnd: [Int]
  ) throws(CetError) {
    guard 1...3 ~= kernel.count else {
      throw CetError(.unsupportedOperator, "\(kernel.count) spatial axes are not supported, expected 1 to 3")
    }
    func axis(_ fromEnd: Int) -> ck_axis {
      let index = kernel.count - fromEnd
      guard index >= 0 else {
        return ck_axis(input: 1, kernel: 1, output: 1, stride: 1, dilation: 1, pad_begin: 0, pad_end: 0)
      }
      return ck_axis(
        input: input[index], kernel: kernel[index], output: output[index], stride: strides[index],
        dilation: dilations[index], pad_begin: padsBegin[index], pad_end: padsEnd[index])
    }
    self.init(a: axis(3), b: axis(2), c: axis(1))
  }
}
