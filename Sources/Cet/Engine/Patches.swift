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
  /// Every how many patches one is taken.
  private let step: Int
  /// Rows that count, for matrices; nil: all.
  private let kept: [Int]?

  /// - Parameters:
  ///   - group: convolution group.
  ///   - step: 1 takes every patch; more takes one of so many, at places that differ from sample to sample.
  ///   - kept: rows of a matrix product's input that are taken, before `step`; nil: all.
  init(_ layer: LinearLayer, _ node: Node, input: Tensor, group: Int, step: Int, kept: [Int]?) throws {
    columns = WeightView.columns(layer)
    self.step = max(1, step)
    self.kept = kept
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

  /// Patches beyond this many (or 24 for every column) change a covariance less than the rounding that uses it;
  /// then a part of them is taken.
  static func step(patches: Int, columns: Int) -> Int { max(1, patches / max(32768, 24 * columns)) }

  /// Patches of a whole input.
  static func count(_ layer: LinearLayer, _ node: Node, input: Tensor) throws -> Int {
    guard case .convolution = layer.kind else { return input.count / max(1, WeightView.columns(layer)) }
    let geometry = try convolutionGeometry(node, input: input.shape, weight: layer.shape)
    return geometry.batch * geometry.outputSpatial.reduce(1, *)
  }

  /// Entry j of a patch as made here is entry `order[j]` of a weight row: windows are made channel-last.
  var order: [Int] {
    guard case .windows(let geometry, _) = form else { return Array(0..<columns) }
    let area = geometry.kernel.reduce(1, *)
    let channels = columns / max(area, 1)
    return (0..<area).flatMap { offset in (0..<channels).map { $0 * area + offset } }
  }

  /// Calls `body(pointers, numbers)` for runs of patches in a fixed order: one pointer an input, `columns` floats a
  /// patch, and the number of every patch among all patches of the inputs. All inputs have one shape.
  func forEach(
    _ inputs: [Tensor], _ context: ComputeContext, _ body: ([UnsafePointer<Float>], [Int]) throws -> Void
  ) throws {
    switch form {
    case .rows: try rows(inputs.map { try $0.rowMajor(arena: context.arena) }, context, body)
    case .windows(let geometry, let group):
      try windows(inputs.map { try $0.channelsLast(arena: context.arena) }, geometry, group, context, body)
    }
  }

  private func rows(
    _ inputs: [Tensor], _ context: ComputeContext, _ body: ([UnsafePointer<Float>], [Int]) throws -> Void
  ) throws {
    let count = (inputs.first?.count ?? 0) / max(columns, 1)
    guard count > 0 else { return }
    if step == 1 && kept == nil {
      return try withExtendedLifetime(inputs) { try body(inputs.map { UnsafePointer($0.floats) }, Array(0..<count)) }
    }
    let all = kept ?? Array(0..<count)
    guard all.last ?? 0 < count else { throw CetError(.internal, "a row that counts is outside the input") }
    let numbers = stride(from: 0, to: all.count, by: step).map { all[$0] }
    let buffers = try inputs.map { _ in try Tensor(uninitialized: .float32, [numbers.count, columns], arena: context.arena) }
    for (input, buffer) in zip(inputs, buffers) {
      for (row, number) in numbers.enumerated() {
        (buffer.floats + row * columns).update(from: input.floats + number * columns, count: columns)
      }
    }
    // The arena takes a tensor's memory back with its last use, and the pointers are none.
    try withExtendedLifetime(buffers) { try body(buffers.map { UnsafePointer($0.floats) }, numbers) }
  }

  private func windows(
    _ inputs: [Tensor], _ g: ConvolutionGeometry, _ group: Int, _ context: ComputeContext,
    _ body: ([UnsafePointer<Float>], [Int]) throws -> Void
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
    var numbers: [Int] = []
    numbers.reserveCapacity(runLength)
    for sample in 0..<g.batch {
      let base = sample * g.inputSpatial.reduce(1, *) * g.inputChannels + group * channels
      // A prime offset from sample to sample, so that all places are seen.
      var wait = sample &* 7919 % step
      for axis in place.indices { place[axis] = 0 }
      for position in 0..<positions {
        let isTaken = wait == 0
        wait = isTaken ? step - 1 : wait - 1
        for offset in 0..<(isTaken ? area : 0) {
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
          try withExtendedLifetime(buffers) { try body(buffers.map { UnsafePointer($0.floats) }, numbers) }
          numbers.removeAll(keepingCapacity: true)
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
