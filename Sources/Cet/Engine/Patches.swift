import CetGraph
import CetOperators
import CetQuantize
import CetTensor

/// The vectors that a layer's weight rows are multiplied with, read off the layer's input activation.
struct Patches {
  private enum Form {
    /// Rows of a matrix whose last axis is K.
    case rows
    case windows(ConvolutionGeometry, group: Int)
  }
  private let form: Form
  let columns: Int

  init(_ layer: LinearLayer, _ node: Node, input: Tensor, group: Int) throws {
    columns = WeightView.columns(layer)
    switch layer.kind {
    case .convolution:
      form = .windows(try convolutionGeometry(node, input: input.shape, weight: layer.shape), group: group)
    case .matrix:
      guard input.shape.last == columns else {
        throw CetError(
          .shapeMismatch, "node '\(node.displayName)': input \(input.shape.shapeText) does not end with \(columns)")
      }
      form = .rows
    case .transposedConvolution, .table, .other:
      throw CetError(.internal, "layer '\(layer.name)' has no patches")
    }
  }

  /// Entry j of a patch as made here is entry `order[j]` of a weight row: windows are made channel-last.
  var order: [Int] {
    guard case .windows(let geometry, _) = form else { return Array(0..<columns) }
    let area = geometry.kernel.reduce(1, *)
    let channels = columns / max(area, 1)
    return (0..<area).flatMap { offset in (0..<channels).map { $0 * area + offset } }
  }

  /// Calls `body(pointer, rows)` for runs of patches, `columns` floats each, in a fixed order.
  func forEach(_ input: Tensor, _ context: ComputeContext, _ body: (UnsafePointer<Float>, Int) throws -> Void) throws {
    switch form {
    case .rows:
      let plain = try input.rowMajor(arena: context.arena)
      if plain.count > 0 { try body(plain.floats, plain.count / columns) }
    case .windows(let geometry, let group):
      let x = try input.channelsLast(arena: context.arena)
      try windows([x], geometry, group, context) { try body($0[0], $1) }
    }
  }

  /// The same for two inputs of one shape side by side: `body(pointer, pointer, rows)`.
  func forEachPair(
    _ first: Tensor, _ second: Tensor, _ context: ComputeContext,
    _ body: (UnsafePointer<Float>, UnsafePointer<Float>, Int) throws -> Void
  ) throws {
    switch form {
    case .rows:
      let (a, b) = (try first.rowMajor(arena: context.arena), try second.rowMajor(arena: context.arena))
      guard a.count == b.count else { throw CetError(.internal, "inputs of different sizes") }
      if a.count > 0 { try body(a.floats, b.floats, a.count / columns) }
    case .windows(let geometry, let group):
      let (a, b) = (try first.channelsLast(arena: context.arena), try second.channelsLast(arena: context.arena))
      guard a.count == b.count else { throw CetError(.internal, "inputs of different sizes") }
      try windows([a, b], geometry, group, context) { try body($0[0], $0[1], $1) }
    }
  }

  private func windows(
    _ inputs: [Tensor], _ g: ConvolutionGeometry, _ group: Int, _ context: ComputeContext,
    _ body: ([UnsafePointer<Float>], Int) throws -> Void
  ) throws {
    let spatial = g.kernel.count
    let channels = g.inputChannels / g.groups
    let positions = g.outputSpatial.reduce(1, *)
    let area = g.kernel.reduce(1, *)
    let inputStrides = g.inputSpatial.rowMajorStrides.map { $0 * g.inputChannels }
    let runLength = max(1, min(positions, 65536 / max(columns, 1)))
    let buffers = try inputs.map { _ in try Tensor(uninitialized: .float32, [runLength, columns], arena: context.arena) }
    // Offsets of the kernel's taps on each axis, flat: tap t has entries t·spatial ..< (t + 1)·spatial.
    var taps = [Int](repeating: 0, count: area * spatial)
    for offset in 0..<area {
      var rest = offset
      for axis in (0..<spatial).reversed() {
        taps[offset * spatial + axis] = rest % g.kernel[axis] * g.dilations[axis]
        rest /= g.kernel[axis]
      }
    }
    var place = [Int](repeating: 0, count: spatial)
    var sources = [Int](repeating: 0, count: area)
    for sample in 0..<g.batch {
      let base = sample * g.inputSpatial.reduce(1, *) * g.inputChannels + group * channels
      var filled = 0
      for axis in place.indices { place[axis] = 0 }
      for position in 0..<positions {
        for offset in 0..<area {
          var index = 0
          for axis in 0..<spatial {
            let at = place[axis] * g.strides[axis] - g.padsBegin[axis] + taps[offset * spatial + axis]
            if at < 0 || at >= g.inputSpatial[axis] {
              index = -1
              break
            }
            index += at * inputStrides[axis]
          }
          sources[offset] = index
        }
        for (input, buffer) in zip(inputs, buffers) {
          let row = buffer.floats + filled * columns
          let data = input.floats + base
          for offset in 0..<area {
            if sources[offset] >= 0 {
              (row + offset * channels).update(from: data + sources[offset], count: channels)
            } else {
              (row + offset * channels).update(repeating: 0, count: channels)
            }
          }
        }
        filled += 1
        if filled == runLength || position == positions - 1 {
          try body(buffers.map { UnsafePointer($0.floats) }, filled)
          filled = 0
        }
        var axis = spatial - 1
        while axis >= 0 {
          place[axis] += 1
          if place[axis] < g.outputSpatial[axis] { break }
          place[axis] = 0
          axis -= 1
        }
      }
    }
  }
}
