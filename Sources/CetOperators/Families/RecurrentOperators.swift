import CetGraph
import CetTensor

/// Recurrent networks, unrolled over the sequence: every step is a matrix product and elementwise functions.
let recurrentOperators: [OperatorEntry] = [
  // h = f(W x + R h + b)
  OperatorEntry("RNN") { call in
    let net = try RecurrentNetwork(call, gates: 1, states: 1, activations: ["Tanh"]) { step in
      [try step.activate(0, step.e.add(step.input, step.recurrent(step.states[0], gates: 0..<1)))]
    }
    return try net.run()
  },
  // z = f(…), r = f(…), h̃ = g(W x + (r ⊙ h)Rᵀ + b) or g(W x + r ⊙ (h Rᵀ + b_R)); h = (1 − z) ⊙ h̃ + z ⊙ h
  OperatorEntry("GRU") { call in
    let resetsLate = try call.int("linear_before_reset", 0) != 0
    let net = try RecurrentNetwork(call, gates: 3, states: 1, activations: ["Sigmoid", "Tanh"]) { step in
      let (e, h) = (step.e, step.states[0])
      let gates = try step.activate(0, e.add(step.gates(step.input, 0..<2), step.recurrent(h, gates: 0..<2)))
      let (z, r) = (try step.gates(gates, 0..<1), try step.gates(gates, 1..<2))
      let inner = try resetsLate
        ? e.multiply(r, step.recurrent(h, gates: 2..<3)) : step.recurrent(e.multiply(r, h), gates: 2..<3)
      let candidate = try step.activate(1, e.add(step.gates(step.input, 2..<3), inner))
      return [try e.add(candidate, e.multiply(z, e.subtract(h, candidate)))]
    }
    return try net.run()
  },
  // i, o, f gates with peepholes; c = f ⊙ c + i ⊙ g(…); h = o ⊙ h(c)
  OperatorEntry("LSTM") { call in
    let couples = try call.int("input_forget", 0) != 0
    let net = try RecurrentNetwork(call, gates: 4, states: 2, activations: ["Sigmoid", "Tanh", "Tanh"]) { step in
      let (e, c) = (step.e, step.states[1])
      let sum = try e.add(step.input, step.recurrent(step.states[0], gates: 0..<4))
      func gate(_ index: Int, _ cell: Value) throws -> Value {
        var x = try step.gates(sum, index..<(index + 1))
        if let peephole = step.peepholes { x = try e.add(x, e.multiply(step.gates(peephole, index..<(index + 1)), cell)) }
        return try step.activate(0, x)
      }
      let i = try gate(0, c)
      let f = try couples ? e.subtract(e.scalar(1, i.element), i) : gate(2, c)
      let candidate = try step.activate(1, step.gates(sum, 3..<4))
      let cell = try e.add(e.multiply(f, c), e.multiply(i, candidate))
      let o = try gate(1, cell)
      return [try e.multiply(o, step.activate(2, cell, clips: false)), cell]
    }
    return try net.run()
  },
]

/// The name under which statistics find what the rows of one gate of a recurrent weight are multiplied with, over all
/// steps of one direction. It begins with a byte that the reader allows in no name.
public func recurrentStates(_ node: Node, direction: Int, gate: Int) -> String {
  "\0\(node.firstOutput).cet.states.\(direction).\(gate)"
}

/// What one step of one direction sees.
private struct RecurrentStep {
  let e: Emitter
  /// W x + b for all gates, (B, gates·H).
  let input: Value
  let states: [Value]
  /// (gates·H, H)
  let weight: Value
  /// Bias of the recurrent product, (gates·H).
  let bias: Value?
  let peepholes: Value?
  let hidden: Int
  let clip: Double
  /// Takes note of what the rows of these gates are multiplied with.
  let observe: (Range<Int>, Value) -> Void
  let activations: ArraySlice<RecurrentActivation>

  /// Columns of these gates.
  func gates(_ x: Value, _ range: Range<Int>) throws -> Value {
    try e.slice(x, axis: x.rank - 1, from: range.lowerBound * hidden, count: range.count * hidden)
  }

  /// h Rᵀ + b_R of these gates
  func recurrent(_ h: Value, gates range: Range<Int>) throws -> Value {
    observe(range, h)
    let rows = try e.slice(weight, axis: 0, from: range.lowerBound * hidden, count: range.count * hidden)
    let product = try e.matrixProduct(h, rows, transposeRight: true)
    return try bias.map { try e.add(product, gates($0, range)) } ?? product
  }

  func activate(_ index: Int, _ x: Value, clips: Bool = true) throws -> Value {
    var x = x
    if clips && clip > 0 {
      x = try e.binary(.minimum, e.binary(.maximum, x, e.scalar(-clip, x.element)), e.scalar(clip, x.element))
    }
    return try activations[activations.startIndex + index].apply(x, e)
  }
}

private struct RecurrentActivation {
  let name: String
  let alpha: Double?
  let beta: Double?

  func apply(_ x: Value, _ e: Emitter) throws -> Value {
    func number(_ value: Double) throws -> Value { try e.scalar(value, x.element) }
    switch name.lowercased() {
    case "tanh": return try e.unary(.tanh, x)
    case "sigmoid": return try e.unary(.sigmoid, x)
    case "relu": return try e.unary(.relu, x)
    case "softplus": return try e.unary(.softplus, x)
    case "softsign": return try e.divide(x, e.add(number(1), e.unary(.absolute, x)))
    case "affine": return try e.add(e.scale(x, by: alpha ?? 1), number(beta ?? 0))
    case "leakyrelu": return try e.emit(Select(), e.compare(.greater, x, number(0)), x, e.scale(x, by: alpha ?? 0.01))
    case "thresholdedrelu": return try e.mask(e.compare(.greater, x, number(alpha ?? 1)), x)
    case "scaledtanh": return try e.scale(e.unary(.tanh, e.scale(x, by: beta ?? 1)), by: alpha ?? 1)
    case "hardsigmoid": return try hardSigmoid(x, alpha: alpha ?? 0.2, beta: beta ?? 0.5, e)
    case "elu": return try exponentialLinear(x, alpha: alpha ?? 1, gamma: 1, inner: 1, e)
    default: throw CetError(.unsupportedOperator, "activation '\(name)'")
    }
  }

  /// Whether the activation has the coefficients.
  var coefficients: (alpha: Bool, beta: Bool) {
    switch name.lowercased() {
    case "affine", "scaledtanh", "hardsigmoid": (true, true)
    case "leakyrelu", "thresholdedrelu", "elu": (true, false)
    default: (false, false)
    }
  }
}

/// The parts that RNN, GRU and LSTM share: directions, layouts, sequence lengths, initial states.
private struct RecurrentNetwork {
  let call: OperatorCall
  let e: Emitter
  let gates: Int
  let states: Int
  let hidden: Int
  let batchFirst: Bool
  let x: Value  // (T, B, I)
  let reversed: [Bool]
  let activations: [RecurrentActivation]
  let perDirection: Int
  /// The new states of a step, the output first.
  let cell: (RecurrentStep) throws -> [Value]

  init(
    _ call: OperatorCall, gates: Int, states: Int, activations standard: [String],
    cell: @escaping (RecurrentStep) throws -> [Value]
  ) throws {
    self.call = call
    self.cell = cell
    e = call.e
    self.gates = gates
    self.states = states
    perDirection = standard.count
    batchFirst = try call.int("layout", 0) != 0
    let r = try call.input(2)
    guard r.rank == 3, r.shape[1] == gates * r.shape[2] else {
      throw CetError(.shapeMismatch, "recurrent weight \(r.shape.shapeText) does not have \(gates) gates")
    }
    hidden = r.shape[2]
    let given = try call.input(0)
    guard given.rank == 3 else { throw CetError(.shapeMismatch, "input \(given.shape.shapeText) does not have rank 3") }
    x = try batchFirst ? call.e.transpose(given, [1, 0, 2]) : given
    switch try call.string("direction", "forward") {
    case "forward": reversed = [false]
    case "reverse": reversed = [true]
    case "bidirectional": reversed = [false, true]
    case let other: throw CetError(.invalidModel, "direction '\(other)'")
    }
    let w = try call.input(1)
    guard w.shape == [reversed.count, gates * hidden, x.shape[2]], r.shape[0] == reversed.count else {
      throw CetError(.shapeMismatch, "weight \(w.shape.shapeText) does not fit input \(given.shape.shapeText)")
    }
    let names = try call.strings("activations") ?? reversed.flatMap { _ in standard }
    guard names.count >= reversed.count * standard.count else { throw CetError(.invalidModel, "activations \(names) are too few") }
    var alphas = try (call.floats("activation_alpha") ?? [])[...]
    var betas = try (call.floats("activation_beta") ?? [])[...]
    self.activations = names.map { name in
      let takes = RecurrentActivation(name: name, alpha: nil, beta: nil).coefficients
      return RecurrentActivation(
        name: name, alpha: takes.alpha ? alphas.popFirst() : nil, beta: takes.beta ? betas.popFirst() : nil)
    }
  }

  private func direction(_ value: Value, _ d: Int) throws -> Value {
    guard value.rank > 0, d < value.shape[0] else {
      throw CetError(.shapeMismatch, "\(value.shape.shapeText) has no direction \(d)")
    }
    return try e.reshape(e.slice(value, axis: 0, from: d, count: 1), Array(value.shape.dropFirst()))
  }

  func run() throws -> [Value] {
    let (time, batch) = (x.shape[0], x.shape[1])
    let turns = try e.turns(time)
    var sequences: [Value] = []
    var finals = [[Value]](repeating: [], count: states)
    let lengths = try lengthsIfShorter()
    for (d, backward) in reversed.enumerated() {
      let w = try direction(call.input(1), d)
      var projected = try e.matrixProduct(e.reshape(x, [time * batch, x.shape[2]]), w, transposeRight: true)
      var recurrentBias: Value?
      if let b = call.optional(3) {
        let both = try direction(b, d)
        guard both.shape == [2 * gates * hidden] else { throw CetError(.shapeMismatch, "bias \(b.shape.shapeText)") }
        projected = try e.add(projected, e.slice(both, axis: 0, from: 0, count: gates * hidden))
        recurrentBias = try e.slice(both, axis: 0, from: gates * hidden, count: gates * hidden)
      }
      let inputs = try time > 0 ? e.emit(Unstack(axis: 0), [e.reshape(projected, [time, batch, gates * hidden])]) : []
      var state = try (0..<states).map { try initialState(5 + $0, d) }
      let weight = try direction(call.input(2), d)
      let peepholes = try states == 2 ? call.optional(7).map { try direction($0, d) } : nil
      let own = activations[(d * perDirection)..<((d + 1) * perDirection)]
      var steps = [Value?](repeating: nil, count: time)
      for t in backward ? Array(turns.reversed()) : Array(turns) {
        let step = RecurrentStep(
          e: e, input: try e.reshape(inputs[t], [batch, gates * hidden]), states: state,
          weight: weight, bias: recurrentBias, peepholes: peepholes, hidden: hidden, clip: try call.float("clip", 0),
          observe: { range, h in
            for gate in range { call.scope.observe(recurrentStates(call.node, direction: d, gate: gate), h) }
          }, activations: own)
        var next = try cell(step)
        var output = next[0]
        if let lengths {  // past its end a sequence keeps its state and gives 0
          let runs = try e.compare(.greater, lengths, e.scalar(Double(t), .int64))
          next = try zip(next, state).map { try e.emit(Select(), runs, $0, $1) }
          output = try e.mask(runs, output)
        }
        state = next
        steps[t] = try e.reshape(output, [1, 1, batch, hidden])
      }
      let kept = steps.compactMap { $0 }
      sequences.append(
        try kept.isEmpty ? e.zeros(TensorType(x.element, [0, 1, batch, hidden])) : e.emit(Concatenate(axis: 0), kept)[0])
      for index in 0..<states { finals[index].append(try e.reshape(state[index], [1, batch, hidden])) }
    }
    let y = try e.emit(Concatenate(axis: 1), sequences)[0]
    let last = try finals.map { try e.emit(Concatenate(axis: 0), $0)[0] }
    guard batchFirst else { return [y] + last }
    return [try e.transpose(y, [2, 0, 1, 3])] + (try last.map { try e.transpose($0, [1, 0, 2]) })
  }

  private func initialState(_ index: Int, _ d: Int) throws -> Value {
    guard let given = call.optional(index) else { return try e.zeros(TensorType(x.element, [x.shape[1], hidden])) }
    let ordered = try batchFirst && given.rank == 3 ? e.transpose(given, [1, 0, 2]) : given
    let state = try direction(ordered, d)
    guard state.shape == [x.shape[1], hidden] else { throw CetError(.shapeMismatch, "initial state \(given.shape.shapeText)") }
    return state
  }

  /// (B, 1) int64; nil where no sequence is shorter than the input.
  private func lengthsIfShorter() throws -> Value? {
    guard let given = call.optional(4) else { return nil }
    let lengths = try e.reshape(e.convert(given, to: .int64), [x.shape[1], 1])
    if let known = e.known(lengths), try known.array(as: Int64.self).allSatisfy({ $0 >= x.shape[0] }) { return nil }
    return lengths
  }
}
