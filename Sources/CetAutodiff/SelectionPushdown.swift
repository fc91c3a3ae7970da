import CetOperators
import CetTensor

/// Selections moved towards the inputs of a program: where nobody reads more of a value than some of its rows (the token
/// that a classifier looks at), only these are computed. The steps that make them are added to the program and take the
/// place of those that make everything, which nobody needs any more.
struct SelectionPushdown {
  private let e: Emitter
  private let steps: [Int]
  /// By value what its readers need: a part, or everything (`.some(nil)`).
  private var needs: [Int: SelectedRows?] = [:]
  /// What stands for a value: all of it, or the part that is needed.
  private var made: [Int: Value] = [:]
  private var constants: [[Int]: Value] = [:]

  /// Values that are equal to `outputs` for all that they are fed.
  static func outputs(_ outputs: [Value], _ e: Emitter) throws(CetError) -> [Value] {
    var pass = SelectionPushdown(outputs, e)
    return try pass.emit(outputs)
  }

  private init(_ outputs: [Value], _ e: Emitter) {
    self.e = e
    steps = e.program.steps(for: outputs)
    for output in outputs { need(nil, of: output) }
    for index in steps.reversed() { collect(e.program.steps[index]) }
  }

  // MARK: Who needs what

  private mutating func need(_ rows: SelectedRows?, of value: Value) {
    guard case .step = e.program.sources[value.id] else { return }
    guard let known = needs[value.id] else {
      needs[value.id] = .some(rows)
      return
    }
    guard let known, let rows else {
      needs[value.id] = .some(nil)
      return
    }
    needs[value.id] = .some(known.union(rows))
  }

  private mutating func collect(_ step: Step) {
    let call = call(step)
    if let rows = part(step), let parts = inputParts(step, call, rows) {
      for (input, part) in zip(call.inputs, parts) { need(part, of: input) }
      return
    }
    for output in call.outputs where needs[output.id] != nil { need(nil, of: output) }
    let cut = Selection(step, call, e)
    for (slot, input) in call.inputs.enumerated() { need(slot == 0 ? cut?.rows : nil, of: input) }
  }

  /// The part of all outputs that is needed; nil when more is needed of one of them.
  private func part(_ step: Step) -> (axis: Int, indices: [Int])? {
    var result: (axis: Int, indices: [Int])?
    for output in step.outputs {
      guard let need = needs[output] else { continue }
      guard let found = need?.along(e.program.values[output].shape) else { return nil }
      guard result == nil || (result?.axis == found.axis && result?.indices == found.indices) else { return nil }
      result = found
    }
    return result
  }

  /// By input the part that a part of the outputs is made from, nil for all of it; nil when there is no such rule.
  private func inputParts(_ step: Step, _ call: Call, _ rows: (axis: Int, indices: [Int])) -> [SelectedRows?]? {
    if step.primitive is Reshape {
      guard let part = SelectedRows(axis: rows.axis, of: call.outputs[0].shape, indices: rows.indices),
        part.along(call.inputs[0].shape) != nil
      else { return nil }
      return [part]
    }
    guard let primitive = step.primitive as? any SeparablePrimitive,
      let axes = primitive.inputAxes(forOutput: rows.axis, of: call)
    else { return nil }
    return zip(call.inputs, axes).map { input, axis in
      axis.flatMap { SelectedRows(axis: $0, of: input.shape, indices: rows.indices) }
    }
  }

  // MARK: Making it

  private mutating func emit(_ outputs: [Value]) throws(CetError) -> [Value] {
    guard needs.values.contains(where: { $0 != nil }) else { return outputs }
    let before = e.origin
    defer { e.origin = before }
    for index in steps {
      let step = e.program.steps[index]
      e.origin = step.origin
      try emit(step)
    }
    return outputs.map { made[$0.id] ?? $0 }
  }

  private mutating func emit(_ step: Step) throws(CetError) {
    let call = call(step)
    var results: [Value]
    if let rows = part(step), let parts = inputParts(step, call, rows) {
      let inputs = try zip(call.inputs, parts).map { input, part throws(CetError) in try value(input, part) }
      var primitive = step.primitive
      if primitive is Reshape {
        var shape = call.outputs[0].shape
        shape[rows.axis] = rows.indices.count
        primitive = Reshape(shape)
      }
      results = try e.emit(primitive, inputs)
    } else if let cut = Selection(step, call, e), (needs[call.inputs[0].id] ?? nil) != nil {
      results = [try e.reshape(value(call.inputs[0], along: cut.axis, cut.indices), call.outputs[0].shape)]
    } else if call.inputs.contains(where: { made[$0.id] != nil }) {
      results = try e.emit(step.primitive, call.inputs.map { input throws(CetError) in try value(input, nil) })
    } else {
      return
    }
    for (output, result) in zip(call.outputs, results) { made[output.id] = result }
  }

  /// All of a value, or a part of it.
  private mutating func value(_ value: Value, _ rows: SelectedRows?) throws(CetError) -> Value {
    guard let rows, let (axis, indices) = rows.along(value.shape) else { return made[value.id] ?? value }
    return try self.value(value, along: axis, indices)
  }

  private mutating func value(_ value: Value, along axis: Int, _ indices: [Int]) throws(CetError) -> Value {
    let held = made[value.id] ?? value
    var places = indices
    if let rows = needs[value.id] ?? nil, let (_, kept) = rows.along(value.shape) {
      let place = Dictionary(uniqueKeysWithValues: zip(kept, kept.indices))
      places = indices.compactMap { place[$0] }
    }
    if places == Array(0..<held.shape[axis]) { return held }
    let constant = try constants[places].or(e.integers(places))
    constants[places] = constant
    return try e.emit(Gather(axis: axis), held, constant)
  }

  private func call(_ step: Step) -> Call {
    Call(inputs: step.inputs.map { e.program.values[$0] }, outputs: step.outputs.map { e.program.values[$0] })
  }
}

/// A step that takes known indices of one axis of its first input.
private struct Selection {
  let axis: Int
  let indices: [Int]
  /// nil when nothing is left out.
  let rows: SelectedRows?

  init?(_ step: Step, _ call: Call, _ e: Emitter) {
    let shape = call.inputs[0].shape
    if let gather = step.primitive as? Gather, let known = e.known(call.inputs[1]), let list = try? known.array(as: Int64.self) {
      axis = gather.axis
      let size = shape[axis]
      indices = list.map { $0 < 0 ? Int(clamping: $0) + size : Int(clamping: $0) }
      guard indices.allSatisfy({ 0..<size ~= $0 }) else { return nil }
    } else if let slice = step.primitive as? Slice {
      let cut = shape.indices.filter { slice.sizes[$0] != shape[$0] || slice.steps[$0] != 1 }
      guard cut.count == 1 else { return nil }
      axis = cut[0]
      indices = (0..<slice.sizes[cut[0]]).map { slice.starts[cut[0]] + $0 * slice.steps[cut[0]] }
    } else {
      return nil
    }
    rows = SelectedRows(axis: axis, of: shape, indices: indices)
  }
}
