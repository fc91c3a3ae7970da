import CetGraph
import CetLayers
import CetOperators
import CetQuantize
import CetTensor

/// The vectors that a layer's weight rows are multiplied with, read off the layer's input activation.
struct Patches {
  private enum Form {
    /// Rows of a matrix whose last axis is K.
    case rows
    /// Columns of a matrix whose last axis but one is K.
    case columns
    case windows(Windows, group: Int?)
  }
  private let form: Form
  let columns: Int
  /// Every how many patches one is taken.
  private let step: Int
  /// Rows that count, for matrices; nil: all.
  private let kept: [Int]?

  /// - Parameters:
  ///   - group: convolution group; nil: all of a depthwise convolution, as patches of [columns][groups].
  ///   - step: 1 takes every patch; more takes one of so many, at places that differ from sample to sample.
  ///   - kept: rows of a matrix product's input that are taken, before `step`; nil: all.
  init(_ layer: LinearLayer, _ node: Node, input: Tensor, group: Int?, step: Int, kept: [Int]?) throws(CetError) {
    columns = layer.columns
    self.step = max(1, step)
    self.kept = kept
    switch layer.kind {
    case .convolution:
      form = .windows(Windows(try convolutionGeometry(node, input: input.shape, weight: layer.shape)), group: group)
    case .transposedConvolution(groups: 1):
      let geometry = try transposedConvolutionGeometry(node, input: input.shape, weight: layer.shape)
      form = .windows(Windows(transposed: geometry), group: group)
    case .leftMatrix:
      guard input.rank >= 2, input.shape[input.rank - 2] == columns else {
        throw CetError(.shapeMismatch, "input \(input.shape.shapeText) does not have \(columns) rows").at(.node(node.displayName))
      }
      form = .columns
    case .matrix:
      guard input.shape.last == columns else {
        throw CetError(.shapeMismatch, "input \(input.shape.shapeText) does not end with \(columns)").at(.node(node.displayName))
      }
      form = .rows
    case .transposedConvolution, .blocks, .table, .other:
      throw CetError(.internal, "layer '\(layer.name)' has no patches")
    }
  }

  /// Patches of a whole input.
  static func count(_ layer: LinearLayer, _ node: Node, input: Tensor) throws(CetError) -> Int {
    switch layer.kind {
    case .convolution:
      let geometry = try convolutionGeometry(node, input: input.shape, weight: layer.shape)
      return geometry.batch * geometry.outputSpatial.reduce(1, *)
    case .transposedConvolution:
      let geometry = try transposedConvolutionGeometry(node, input: input.shape, weight: layer.shape)
      return geometry.batch * geometry.inputSpatial.reduce(1, *)
    default: return input.count / max(1, layer.columns)
    }
  }

  /// Entry j of a patch as made here is entry `order[j]` of a weight row: windows are made channel-last.
  var order: [Int] {
    guard case .windows(let windows, _) = form else { return Array(0..<columns) }
    let area = windows.area
    let channels = columns / max(area, 1)
    return (0..<area).flatMap { offset in (0..<channels).map { $0 * area + offset } }
  }

  /// Calls `body(pointers, numbers)` for runs of patches in a fixed order: one pointer an input, `columns` floats a
  /// patch, and the number of every patch among all patches of the inputs. All inputs have one shape.
  func forEach(
    _ inputs: [Tensor], _ context: ComputeContext, _ body: ([UnsafePointer<Float>], [Int]) throws(CetError) -> Void
  ) throws(CetError) {
    switch form {
    case .rows:
      try rows(inputs.map { x throws(CetError) in try x.rowMajor(arena: context.arena) }, context, body)
    case .columns:
      try rows(inputs.map { x throws(CetError) in try transposed(x.rowMajor(arena: context.arena), context) }, context, body)
    case .windows(let windows, let group):
      let inputs = try inputs.map { x throws(CetError) in try x.channelsLast(arena: context.arena) }
      try each(windows, of: inputs, group, context, body)
    }
  }

  private func rows(
    _ inputs: [Tensor], _ context: ComputeContext, _ body: ([UnsafePointer<Float>], [Int]) throws(CetError) -> Void
  ) throws(CetError) {
    let count = (inputs.first?.count ?? 0) / max(columns, 1)
    guard count > 0 else { return }
    if step == 1 && kept == nil {
      // In runs: a call that is to end does not wait for the moments of all rows.
      let runLength = max(1, (1 << 21) / max(columns, 1))
      return try withExtendedLifetime(inputs) { () throws(CetError) in
        for start in stride(from: 0, to: count, by: runLength) {
          try context.interruption.check()
          try body(inputs.map { UnsafePointer($0.floats + start * columns) }, Array(start..<min(start + runLength, count)))
        }
      }
    }
    let all = kept ?? Array(0..<count)
    guard all.last ?? 0 < count else { throw CetError(.internal, "a row that counts is outside the input") }
    let numbers = stride(from: 0, to: all.count, by: step).map { all[$0] }
    let buffers = try inputs.map { _ throws(CetError) in
      try Tensor(uninitialized: .float32, [numbers.count, columns], arena: context.arena)
    }
    for (input, buffer) in zip(inputs, buffers) {
      for (row, number) in numbers.enumerated() {
        (buffer.floats + row * columns).update(from: input.floats + number * columns, count: columns)
      }
    }
    // The arena takes a tensor's memory back with its last use, and the pointers are none.
    try withExtendedLifetime(buffers) { () throws(CetError) in try body(buffers.map { UnsafePointer($0.floats) }, numbers) }
  }

  /// The last two axes exchanged.
  private func transposed(_ x: Tensor, _ context: ComputeContext) throws(CetError) -> Tensor {
    let (rows, columns) = (x.shape[x.rank - 2], x.shape[x.rank - 1])
    let result = try Tensor(
      uninitialized: .float32, Array(x.shape.dropLast(2)) + [columns, rows], arena: context.arena)
    for matrix in 0..<(x.count / max(1, rows * columns)) {
      let (from, to) = (x.floats + matrix * rows * columns, result.floats + matrix * rows * columns)
      for i in 0..<rows { for j in 0..<columns { to[j * rows + i] = from[i * columns + j] } }
    }
    return result
  }

  private func each(
    _ w: Windows, of inputs: [Tensor], _ group: Int?, _ context: ComputeContext,
    _ body: ([UnsafePointer<Float>], [Int]) throws(CetError) -> Void
  ) throws(CetError) {
    let spatial = w.places.count
    let channels = group == nil ? w.channels : w.channels / w.groups
    let positions = w.places.reduce(1, *)
    let area = w.area
    let columns = area * channels
    let inputStrides = w.inputs.rowMajorStrides.map { $0 * w.channels }
    let runLength = max(1, min(positions, (group == nil ? 1 << 20 : 65536) / max(columns, 1)))
    let buffers = try inputs.map { _ throws(CetError) in
      try Tensor(uninitialized: .float32, [runLength, columns], arena: context.arena)
    }
    var place = [Int](repeating: 0, count: spatial)
    var sources = [Int](repeating: 0, count: area)
    var numbers: [Int] = []
    numbers.reserveCapacity(runLength)
    for sample in 0..<w.batch {
      let base = sample * w.inputs.reduce(1, *) * w.channels + (group ?? 0) * channels
      // A prime offset from sample to sample, so that all places are seen.
      var wait = sample &* 7919 % step
      for axis in place.indices { place[axis] = 0 }
      for position in 0..<positions {
        let isTaken = wait == 0
        wait = isTaken ? step - 1 : wait - 1
        for offset in 0..<(isTaken ? area : 0) {
          var index = 0
          for axis in 0..<spatial {
            let at = w.input(place[axis], tap: offset, axis)
            if at < 0 {
              index = -1
              break
            }
            index += at * inputStrides[axis]
          }
          sources[offset] = index
        }
        for (input, buffer) in zip(inputs, buffers) where isTaken {
          let row = buffer.floats + numbers.count * columns
          let data = input.floats + base
          for offset in 0..<area {
            if sources[offset] >= 0 {
              (row + offset * channels).update(from: data + sources[offset], count: channels)
            } else {
              (row + offset * channels).update(repeating: 0, count: channels)
            }
          }
        }
        if isTaken { numbers.append(sample * positions + position) }
        if numbers.count == runLength || (position == positions - 1 && !numbers.isEmpty) {
          try withExtendedLifetime(buffers) { () throws(CetError) in try body(buffers.map { UnsafePointer($0.floats) }, numbers) }
          numbers.removeAll(keepingCapacity: true)
        }
        var axis = spatial - 1
        while axis >= 0 {
          place[axis] += 1
          if place[axis] < w.places[axis] { break }
          place[axis] = 0
          axis -= 1
        }
      }
    }
  }
}

/// Which entries of its input a convolution, or the transpose of one, reads for each place of its output.
private struct Windows {
  let batch: Int
  let groups: Int
  /// Of the input, all groups.
  let channels: Int
  let inputs: [Int]
  let places: [Int]
  /// Taps of the kernel.
  let area: Int
  private let isTransposed: Bool
  private let strides: [Int]
  private let pads: [Int]
  /// Offsets of the taps on each axis, flat: tap t has entries t·spatial ..< (t + 1)·spatial.
  private let taps: [Int]

  init(_ g: ConvolutionGeometry) {
    self.init(g, channels: g.inputChannels, inputs: g.inputSpatial, places: g.outputSpatial, isTransposed: false)
  }

  /// - Parameter transposed: the convolution whose output is read here and whose input is computed.
  init(transposed g: ConvolutionGeometry) {
    self.init(g, channels: g.outputChannels, inputs: g.outputSpatial, places: g.inputSpatial, isTransposed: true)
  }

  private init(_ g: ConvolutionGeometry, channels: Int, inputs: [Int], places: [Int], isTransposed: Bool) {
    batch = g.batch
    groups = g.groups
    self.channels = channels
    self.inputs = inputs
    self.places = places
    self.isTransposed = isTransposed
    strides = g.strides
    pads = g.padsBegin
    let spatial = g.kernel.count
    let area = g.kernel.reduce(1, *)
    self.area = area
    var taps = [Int](repeating: 0, count: area * spatial)
    for tap in 0..<area {
      var rest = tap
      for axis in (0..<spatial).reversed() {
        taps[tap * spatial + axis] = rest % g.kernel[axis] * g.dilations[axis]
        rest /= g.kernel[axis]
      }
    }
    self.taps = taps
  }

  /// The input's index on an axis that a tap reads for a place; negative when there is none.
  func input(_ place: Int, tap: Int, _ axis: Int) -> Int {
    let offset = taps[tap * strides.count + axis]
    guard isTransposed else {
      let at = place * strides[axis] - pads[axis] + offset
      return at < inputs[axis] ? at : -1
    }
    // place = at · stride − pad + offset
    let at = place + pads[axis] - offset
    guard at >= 0, at % strides[axis] == 0, at / strides[axis] < inputs[axis] else { return -1 }
    return at / strides[axis]
  }
}
