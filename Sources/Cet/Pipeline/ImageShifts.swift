import CetAutodiff
import CetGraph
import CetQuantize
import CetTensor

/// Calibration images moved by a few pixels, as further inputs to take statistics from: a convolution sees other patches
/// of them. With few samples that is worth about a tenth of the loss (docs/experiments.md). They are held in memory.
struct ImageShifts {
  /// Moves go up to a sixteenth of an image: 2 pixels of 32, 14 of 224.
  private static let fraction = 16

  /// By name of an input that a convolution reads: the axis of the image's rows, that of its columns comes next.
  private let rowAxes: [String: Int]
  /// Copies of every batch.
  let copies: Int

  /// - Parameters:
  ///   - asked: copies of every sample; nil: as many as `sampleCount` leaves useful.
  init(_ graph: Graph, asked: Int?, sampleCount: Int) {
    rowAxes = ImageShifts.rowAxes(graph)
    copies = rowAxes.isEmpty ? 0 : asked ?? SamplePolicy.imageShifts(samples: sampleCount)
  }

  /// Inputs of rank 4 that reach a convolution, through transposition and what works on each value by itself.
  private static func rowAxes(_ graph: Graph) -> [String: Int] {
    // Of a value on the way: its input, and which axis of the input each of its axes is.
    var origins: [String: (input: String, axes: [Int])] = [:]
    for input in graph.requiredInputs { origins[input.name] = (input.name, [0, 1, 2, 3]) }
    var result: [String: Int] = [:]
    for node in graph.nodes {
      guard let name = node.inputs.first(where: { origins[$0] != nil }), let origin = origins[name] else { continue }
      switch node.operatorType {
      case "Conv":
        let (rows, columns) = (min(origin.axes[2], origin.axes[3]), max(origin.axes[2], origin.axes[3]))
        if node.inputs.first == name, rows > 0, columns == rows + 1 { result[origin.input] = rows }
      case "Transpose":
        guard case .ints(let order)? = node.attributes["perm"], order.count == 4, Set(order) == [0, 1, 2, 3] else { continue }
        for output in node.outputs { origins[output] = (origin.input, order.map { origin.axes[Int($0)] }) }
      case "Add", "BatchNormalization", "Cast", "Clip", "Div", "Identity", "Mul", "Pad", "Sub":
        if let output = node.outputs.first { origins[output] = origin }
      default: continue
      }
    }
    return result
  }

  /// Copies of a batch, every sample moved by itself; none where no image of it is large enough.
  /// - Parameter seed: the same moves for the same seed.
  func shifted(_ batch: Batch, seed: UInt64) throws(CetError) -> [Batch] {
    let images = batch.inputs.compactMap { name, tensor -> (name: String, axis: Int)? in
      guard let axis = rowAxes[name], tensor.rank == 4, batch.sampleAxes[name] == 0,
        min(tensor.shape[axis], tensor.shape[axis + 1]) >= ImageShifts.fraction
      else { return nil }
      return (name, axis)
    }
    guard !images.isEmpty else { return [] }
    var random = Random(seed: seed)
    return try (0..<copies).map { _ throws(CetError) in
      // Moves are fractions of the largest one: inputs of several sizes move together.
      let moves = (0..<batch.sampleCount).map { _ in (rows: 2 * random.uniform() - 1, columns: 2 * random.uniform() - 1) }
      var inputs = batch.inputs
      for image in images {
        inputs[image.name] = try batch.inputs[image.name].map { images throws(CetError) in
          try ImageShifts.moved(images, axis: image.axis, moves)
        }
      }
      return try Batch(
        inputs: inputs, sampleAxes: batch.sampleAxes, labels: batch.labels, sampleCount: batch.sampleCount)
    }
  }

  /// Every sample moved; what leaves the image is lost, and its border is repeated where it leaves a gap.
  private static func moved(_ tensor: Tensor, axis: Int, _ moves: [(rows: Double, columns: Double)]) throws(CetError) -> Tensor {
    let source = try tensor.rowMajor()
    let result = try Tensor(uninitialized: tensor.type, tensor.shape)
    let (rows, columns) = (tensor.shape[axis], tensor.shape[axis + 1])
    let planes = tensor.shape[1..<axis].reduce(1, *)
    let step = tensor.shape[(axis + 2)...].reduce(1, *) * tensor.type.byteWidth
    let pixels = { (move: Double, size: Int) in Int((move * Double(size / fraction)).rounded()) }
    for (sample, move) in moves.enumerated() {
      let (down, right) = (pixels(move.rows, rows), pixels(move.columns, columns))
      for plane in (sample * planes)..<((sample + 1) * planes) {
        for row in 0..<rows {
          let from = source.pointer + (plane * rows + min(max(row - down, 0), rows - 1)) * columns * step
          let to = result.pointer + (plane * rows + row) * columns * step
          let whole = columns - abs(right)
          (to + max(right, 0) * step).copyMemory(from: from + max(-right, 0) * step, byteCount: whole * step)
          for column in 0..<max(right, 0) { (to + column * step).copyMemory(from: from, byteCount: step) }
          for column in whole..<(whole + max(-right, 0)) {
            (to + column * step).copyMemory(from: from + (columns - 1) * step, byteCount: step)
          }
        }
      }
    }
    return result
  }
}
