import CetGraph
import CetTensor

/// Control flow that is known before the program runs: branches are chosen and loops unrolled.
let controlFlowOperators: [OperatorEntry] = [
  OperatorEntry("If") { call in
    let condition = try call.known(0, "the condition").array(as: Bool.self)
    let graph = try call.graph(condition.first ?? false ? "then_branch" : "else_branch")
    return try call.scope.child().lower(graph, outputs: graph.outputs.map(\.name))
  },
  OperatorEntry("Loop") { call in try loop(call) },
  OperatorEntry("Scan", versions: 9...newestOpset) { call in try scan(call) },
]

/// More turns than this are taken for a loop that does not end.
private let turnLimit = 10_000

private func loop(_ call: OperatorCall) throws -> [Value] {
  let (body, e) = (try call.graph("body"), call.e)
  let carriedCount = max(0, call.node.inputs.count - 2)
  guard body.inputs.count == carriedCount + 2, body.outputs.count > carriedCount else {
    throw CetError(.invalidModel, "the body has \(body.inputs.count) inputs for \(carriedCount) carried values")
  }
  let turns = try call.has(0) ? call.knownInts(0, "the trip count").first ?? 0 : Int.max
  var runs = try call.has(1) ? call.known(1, "the condition").array(as: Bool.self).first ?? false : true
  var carried = try (0..<carriedCount).map { try call.input($0 + 2) }
  var scanned = [[Value]](repeating: [], count: body.outputs.count - 1 - carriedCount)
  if runs, turns <= turnLimit { try e.foresee(nodes: call.scope.leastNodes(of: body, turns: turns)) }
  var turn = 0
  while runs && turn < turns {
    guard turn < turnLimit else { throw CetError(.unsupportedOperator, "a loop of more than \(turnLimit) turns") }
    let scope = try call.scope.child()
    scope.set(body.inputs[0].name, e.constant(try Tensor(scalar: Int64(turn))))
    scope.set(body.inputs[1].name, try e.scalar(1, .bool))
    for (info, value) in zip(body.inputs.dropFirst(2), carried) { scope.set(info.name, value) }
    let results = try scope.lower(body, outputs: body.outputs.map(\.name))
    guard let next = e.known(results[0]) else {
      throw CetError(.unsupportedOperator, "the loop's condition \(OperatorCall.dependence)")
    }
    runs = try next.array(as: Bool.self).first ?? false
    carried = Array(results[1..<(1 + carriedCount)])
    for index in scanned.indices { scanned[index].append(results[1 + carriedCount + index]) }
    turn += 1
  }
  let stacked = try scanned.enumerated().map { index, values in
    try stack(values, axis: 0, like: body.outputs[1 + carriedCount + index], e)
  }
  return carried + stacked
}

private func scan(_ call: OperatorCall) throws -> [Value] {
  let (body, e) = (try call.graph("body"), call.e)
  let values = try call.inputs.indices.map { try call.input($0) }
  guard let scanCount = try call.int("num_scan_inputs"), scanCount > 0, scanCount <= values.count,
    body.inputs.count == values.count, body.outputs.count >= values.count - scanCount
  else { throw CetError(.invalidModel, "num_scan_inputs does not fit \(values.count) inputs") }
  let stateCount = values.count - scanCount
  var state = Array(values[..<stateCount])
  let sources = values[stateCount...].map { $0 }
  let axes = try sources.indices.map { try call.axis((call.ints("scan_input_axes") ?? []).element($0) ?? 0, rank: sources[$0].rank) }
  let backward = try sources.indices.map { try (call.ints("scan_input_directions") ?? []).element($0) ?? 0 }
  let length = sources[0].shape[axes[0]]
  guard sources.indices.allSatisfy({ sources[$0].shape[axes[$0]] == length }) else {
    throw CetError(.shapeMismatch, "the scanned inputs differ in length")
  }
  var outputs = [[Value]](repeating: [], count: body.outputs.count - stateCount)
  for turn in try e.turns(length) {
    let scope = try call.scope.child()
    for (info, value) in zip(body.inputs, state) { scope.set(info.name, value) }
    for (k, source) in sources.enumerated() {
      var shape = source.shape
      shape.remove(at: axes[k])
      let row = try e.slice(source, axis: axes[k], from: backward[k] == 0 ? turn : length - 1 - turn, count: 1)
      scope.set(body.inputs[stateCount + k].name, try e.reshape(row, shape))
    }
    let results = try scope.lower(body, outputs: body.outputs.map(\.name))
    state = Array(results[..<stateCount])
    for index in outputs.indices { outputs[index].append(results[stateCount + index]) }
  }
  let outputAxes = try call.ints("scan_output_axes") ?? []
  let outputDirections = try call.ints("scan_output_directions") ?? []
  let stacked = try outputs.enumerated().map { index, values in
    let rank = (values.first?.rank ?? 0) + 1
    return try stack(
      outputDirections.element(index) ?? 0 == 0 ? values : values.reversed(),
      axis: call.axis(outputAxes.element(index) ?? 0, rank: rank), like: body.outputs[stateCount + index], e)
  }
  return state + stacked
}

/// Values side by side along a new axis. Of no values the shape is what the graph declares.
private func stack(_ values: [Value], axis: Int, like info: ValueInfo, _ e: Emitter) throws -> Value {
  guard !values.isEmpty else {
    let shape: [Int] = (info.shape ?? []).map { if case .fixed(let size) = $0 { size } else { 0 } }
    return try e.zeros(TensorType(info.type ?? .float32, [0] + shape))
  }
  let rows = try values.map { value in
    var shape = value.shape
    guard axis <= shape.count else { throw CetError(.shapeMismatch, "axis \(axis) of \(shape.shapeText)") }
    shape.insert(1, at: axis)
    return try e.reshape(value, shape)
  }
  return try e.emit(Concatenate(axis: axis), rows)[0]
}

extension Array {
  fileprivate func element(_ index: Int) -> Element? { indices.contains(index) ? self[index] : nil }
}
