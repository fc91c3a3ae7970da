import CetAutodiff
import CetLayers
import CetQuantize
import CetTensor

/// Reads what layers of the unquantized network read, or remembers it. The network runs only as far as something is not known.
struct UnquantizedReader {
  private let bound: BoundModel
  private let batches: [FittingBatch]
  /// The network at every batch.
  private let cursors: [ForwardCursor]
  private let readings: UnquantizedReadings
  /// Inputs of several matrices.
  private let shared: Set<String>

  init(_ bound: BoundModel, _ batches: [FittingBatch], _ cursors: [ForwardCursor], _ readings: UnquantizedReadings) {
    self.bound = bound
    self.batches = batches
    self.cursors = cursors
    self.readings = readings
    shared = bound.sharedInputNames
  }

  /// Weights over 2^exponent.
  struct Mapping {
    let matrix: WeightMatrix
    let exponent: Int
  }

  /// The weights of a layer whose outputs are taken in place of its inputs, because there are far fewer of them; nil: its inputs are
  /// taken. Those serve all layers that read them. It depends on the model alone, never on which layers are quantized: results of
  /// former calls are kept.
  func mapping(_ index: Int) throws(CetError) -> Mapping? {
    let layer = bound.layers[index]
    guard 2 * (layer.channels / layer.groups) <= layer.columns, layer.input.map(shared.contains) != true else { return nil }
    let (matrix, exponent) = try WeightView(
      name: layer.name, shape: layer.shape, axis: layer.axis, bound.weightValues(layer)
    ).matrix.normalized()
    return Mapping(matrix: matrix, exponent: exponent)
  }

  /// What a layer reads of a batch.
  /// - Parameters:
  ///   - residual: whose rows are taken too, where the run can give them.
  ///   - step: every how many patches one is taken.
  func reading(
    _ index: Int, _ position: Int, _ mapping: Mapping?, _ residual: Residual?, step: Int
  ) throws(CetError) -> UnquantizedReadings.Reading {
    if let known = readings.reading(index, position, residual: residual?.name) { return known }
    let layer = bound.layers[index]
    let input = try cursors[position].value(layer.input ?? "")
    // Memory of the arena would be missing there when a later layer runs.
    let arena = readings.isOpen ? nil : bound.context.arena
    let rows = try residual.flatMap { residual throws(CetError) in
      try ResidualRows(residual, cursors[position], layer, input: input, bound.context)
    }
    var lines: [[Tensor]] = []
    var picked: [Tensor] = []
    for group in 0..<layer.groups {
      let patches = try Patches(layer, layer.node, input: input, group: group, step: step, kept: batches[position].rows[index])
      let weights = mapping.map { groupRows($0.matrix, group, layer, patches.order) }
      var runs: [Tensor] = []
      try patches.forEach([input], bound.context) { inputs, numbers throws(CetError) in
        runs.append(try line(inputs[0], rows: numbers.count, columns: patches.columns, weights, arena))
        if group == 0, let rows { picked.append(try rows.picked(numbers, arena: arena)) }
      }
      lines.append(runs)
    }
    let reading = UnquantizedReadings.Reading(lines: lines, residual: picked, residualName: residual?.name)
    readings.keep(reading, index, position)
    return reading
  }

  /// The whole input of a layer at a batch.
  func reading(wholeInputOf index: Int, _ position: Int) throws(CetError) -> Tensor {
    if let known = readings.input(index, position) { return known }
    let input = try cursors[position].value(bound.layers[index].input ?? "")
    guard readings.isOpen else { return input }
    let copy = try Tensor(uninitialized: input.type, input.shape, layout: input.layout)
    withExtendedLifetime(input) { copy.pointer.copyMemory(from: input.pointer, byteCount: input.byteCount) }
    readings.keep(copy, index, position)
    return copy
  }

  /// Rows of one group's weights, with columns in the order of patches.
  private func groupRows(_ weights: WeightMatrix, _ group: Int, _ layer: LinearLayer, _ order: [Int]) -> [Float] {
    let rows = layer.channels / layer.groups
    return ((group * rows)..<((group + 1) * rows)).flatMap { row in order.map { weights.values[row * weights.columns + $0] } }
  }

  /// A run of patches as it is, or its products with weights.
  private func line(
    _ patches: UnsafePointer<Float>, rows: Int, columns: Int, _ weights: [Float]?, _ arena: Arena?
  ) throws(CetError) -> Tensor {
    guard let weights else {
      let copy = try Tensor(uninitialized: .float32, [rows, columns], arena: arena)
      copy.floats.update(from: patches, count: rows * columns)
      return copy
    }
    let outputs = weights.count / columns
    let result = try Tensor(uninitialized: .float32, [rows, outputs], arena: arena)
    try weights.withUnsafeBufferPointer { weights throws(CetError) in
      guard let weights = weights.baseAddress else { return }
      try LinearAlgebra.sgemm(
        patches, .plain, stride: columns, weights, .transposed, stride: columns, into: result.floats, stride: outputs,
        m: rows, n: outputs, k: columns)
    }
    return result
  }
}
