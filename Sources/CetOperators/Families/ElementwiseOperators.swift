import CetTensor

private func unary(_ type: String, _ function: Unary.Function, versions: ClosedRange<Int> = allOpsets, derivatives: OperatorEntry.Derivatives = .exact) -> OperatorEntry {
  OperatorEntry(type, versions: versions, derivatives: derivatives) { call in
    [try call.e.unary(function, call.input(0))]
  }
}

private func binary(_ type: String, _ function: Binary.Function) -> OperatorEntry {
  OperatorEntry(type) { call in [try call.e.binary(function, call.input(0), call.rightOperand())] }
}

/// Sum, Max, Min: folds any number of operands.
private func variadic(_ type: String, _ function: Binary.Function) -> OperatorEntry {
  OperatorEntry(type) { call in
    var result = try call.input(0)
    for index in call.inputs.indices.dropFirst() { result = try call.e.binary(function, result, call.input(index)) }
    return [result]
  }
}

/// Operators given by a formula f(x, e).
private func formula(_ type: String, versions: ClosedRange<Int> = allOpsets, _ f: @escaping @Sendable (OperatorCall, Value, Emitter) throws -> Value) -> OperatorEntry {
  OperatorEntry(type, versions: versions) { call in [try f(call, call.input(0), call.e)] }
}

let elementwiseOperators: [OperatorEntry] = [
  unary("Neg", .negate), unary("Abs", .absolute), unary("Exp", .exp), unary("Log", .log), unary("Sqrt", .sqrt),
  unary("Reciprocal", .reciprocal), unary("Tanh", .tanh), unary("Sigmoid", .sigmoid), unary("Relu", .relu),
  unary("Softplus", .softplus), unary("Erf", .erf, versions: 9...newestOpset), unary("Sin", .sin), unary("Cos", .cos),
  unary("Tan", .tan), unary("Asin", .asin), unary("Acos", .acos), unary("Atan", .atan),
  unary("Sinh", .sinh, versions: 9...newestOpset), unary("Cosh", .cosh, versions: 9...newestOpset),
  unary("Asinh", .asinh, versions: 9...newestOpset), unary("Acosh", .acosh, versions: 9...newestOpset),
  unary("Atanh", .atanh, versions: 9...newestOpset),
  unary("Sign", .sign, versions: 9...newestOpset, derivatives: .zero), unary("Floor", .floor, derivatives: .zero),
  unary("Ceil", .ceil, derivatives: .zero), unary("Round", .round, versions: 11...newestOpset, derivatives: .zero),

  binary("Add", .add), binary("Sub", .subtract), binary("Mul", .multiply), binary("Div", .divide),
  variadic("Sum", .add), variadic("Max", .maximum), variadic("Min", .minimum),
  OperatorEntry("Pow") { call in
    let (x, y) = (try call.input(0), try call.rightOperand())
    return [try call.e.binary(.power, x, call.e.convert(y, to: x.element))]
  },
  OperatorEntry("Mod", versions: 10...newestOpset) { call in
    [try call.e.binary(call.int("fmod", 0) == 1 ? .remainder : .modulo, call.input(0), call.input(1))]
  },
  OperatorEntry("Mean") { call in
    var total = try call.input(0)
    for index in call.inputs.indices.dropFirst() { total = try call.e.add(total, call.input(index)) }
    return [try call.e.scale(total, by: 1 / Double(call.inputs.count))]
  },

  // Clip(x) = min(max(x, low), high); the bounds moved from attributes to inputs in opset 11.
  OperatorEntry("Clip") { call in
    var x = try call.input(0)
    if call.opset < 11 {
      if let low = try call.float("min") { x = try call.e.binary(.maximum, x, call.e.scalar(low, x.element)) }
      if let high = try call.float("max") { x = try call.e.binary(.minimum, x, call.e.scalar(high, x.element)) }
    } else {
      if let low = call.optional(1) { x = try call.e.binary(.maximum, x, low) }
      if let high = call.optional(2) { x = try call.e.binary(.minimum, x, high) }
    }
    return [x]
  },
  // x > 0 ? x : αx
  formula("LeakyRelu") { call, x, e in
    let slope = try e.scale(x, by: call.float("alpha", 0.01))
    return try e.emit(Select(), e.compare(.greater, x, e.scalar(0, x.element)), x, slope)
  },
  OperatorEntry("PRelu") { call in
    let (x, e) = (try call.input(0), call.e)
    var slope = try call.input(1)
    if call.opset < 7, slope.rank == 1, slope.count > 1, x.rank > 2 {  // one slope for each channel
      slope = try e.reshape(slope, [slope.count] + [Int](repeating: 1, count: x.rank - 2))
    }
    return [try e.emit(Select(), e.compare(.greater, x, e.scalar(0, x.element)), x, e.multiply(x, slope))]
  },
  // x > 0 ? x : α(eˣ − 1); the exponential sees only min(x, 0), so that the unused branch never overflows
  formula("Elu") { call, x, e in try exponentialLinear(x, alpha: call.float("alpha", 1), gamma: 1, inner: 1, e) },
  formula("Celu", versions: 12...newestOpset) { call, x, e in
    let alpha = try call.float("alpha", 1)
    return try exponentialLinear(x, alpha: alpha, gamma: 1, inner: 1 / alpha, e)
  },
  formula("Selu") { call, x, e in
    try exponentialLinear(
      x, alpha: call.float("alpha", Double(Float(1.67326319217681884765625))),
      gamma: call.float("gamma", Double(Float(1.05070102214813232421875))), inner: 1, e)
  },
  // max(0, min(1, αx + β))
  formula("HardSigmoid") { call, x, e in
    try hardSigmoid(x, alpha: call.float("alpha", 0.2), beta: call.float("beta", 0.5), e)
  },
  formula("HardSwish", versions: 14...newestOpset) { _, x, e in
    try e.multiply(x, hardSigmoid(x, alpha: 1.0 / 6, beta: 0.5, e))
  },
  formula("Mish", versions: 18...newestOpset) { _, x, e in try e.multiply(x, e.unary(.tanh, e.unary(.softplus, x))) },
  formula("Swish", versions: 24...newestOpset) { call, x, e in
    try e.multiply(x, e.unary(.sigmoid, e.scale(x, by: call.float("alpha", 1))))
  },
  // a·σ(αa)·b
  OperatorEntry("SwiGLU", versions: 28...newestOpset) { call in
    let (a, b, e) = (try call.input(0), try call.input(1), call.e)
    return [try e.multiply(e.multiply(a, e.unary(.sigmoid, e.scale(a, by: call.float("alpha", 1)))), b)]
  },
  formula("Softsign") { _, x, e in try e.divide(x, e.add(e.scalar(1, x.element), e.unary(.absolute, x))) },
  formula("ThresholdedRelu", versions: 10...newestOpset) { call, x, e in
    try e.mask(e.compare(.greater, x, e.scalar(call.float("alpha", 1), x.element)), x)
  },
  formula("Gelu", versions: 20...newestOpset) { call, x, e in try gelu(x, tanh: call.string("approximate", "none") == "tanh", e) },
  formula("Shrink", versions: 9...newestOpset) { call, x, e in
    let (bias, lambda) = (try call.float("bias", 0), try call.float("lambd", 0.5))
    let low = try e.mask(e.compare(.less, x, e.scalar(-lambda, x.element)), e.add(x, e.scalar(bias, x.element)))
    let high = try e.mask(e.compare(.greater, x, e.scalar(lambda, x.element)), e.subtract(x, e.scalar(bias, x.element)))
    return try e.add(low, high)
  },

  OperatorEntry("Cast") { call in
    guard let type = try call.elementType("to") else { throw CetError(.invalidModel, "attribute 'to' is missing") }
    return [try call.e.emit(Convert(to: type, saturates: call.int("saturate", 1) != 0), call.input(0))]
  },
  OperatorEntry("CastLike", versions: 15...newestOpset) { call in
    let target = Convert(to: try call.input(1).element, saturates: try call.int("saturate", 1) != 0)
    return [try call.e.emit(target, call.input(0))]
  },
  OperatorEntry("Identity") { call in [try call.input(0)] },
  // Inference: the identity. The mask output, where asked for, is all true.
  OperatorEntry("Dropout") { call in
    let x = try call.input(0)
    if call.has(2), try call.knownScalar(2, "training_mode") != 0 {
      guard try call.has(1) && call.knownScalar(1, "ratio") == 0 else {
        throw CetError(.unsupportedOperator, "dropout in training mode is random")
      }
    }
    return [x, try call.e.zeros(TensorType(.bool, x.shape)).negated(call.e)]
  },
]

extension Value {
  fileprivate func negated(_ e: Emitter) throws -> Value { try e.not(self) }
}

/// γ·(x > 0 ? x : α(e^(x·inner) − 1))
func exponentialLinear(_ x: Value, alpha: Double, gamma: Double, inner: Double, _ e: Emitter) throws -> Value {
  let zero = try e.scalar(0, x.element)
  let power = try e.unary(.exp, e.scale(e.binary(.minimum, x, zero), by: inner))
  let negative = try e.scale(e.subtract(power, e.scalar(1, x.element)), by: alpha)
  return try e.scale(e.emit(Select(), e.compare(.greater, x, zero), x, negative), by: gamma)
}

func hardSigmoid(_ x: Value, alpha: Double, beta: Double, _ e: Emitter) throws -> Value {
  let line = try e.add(e.scale(x, by: alpha), e.scalar(beta, x.element))
  return try e.binary(.minimum, e.binary(.maximum, line, e.scalar(0, x.element)), e.scalar(1, x.element))
}

/// x·Φ(x): ½x(1 + erf(x/√2)), or ½x(1 + tanh(√(2/π)(x + 0.044715x³)))
func gelu(_ x: Value, tanh: Bool, _ e: Emitter) throws -> Value {
  let inner: Value
  if tanh {
    let cube = try e.multiply(x, e.multiply(x, x))
    let argument = try e.scale(e.add(x, e.scale(cube, by: 0.044715)), by: (2 / Double.pi).squareRoot())
    inner = try e.unary(.tanh, argument)
  } else {
    inner = try e.unary(.erf, e.scale(x, by: 0.5.squareRoot()))
  }
  return try e.multiply(e.scale(x, by: 0.5), e.add(inner, e.scalar(1, x.element)))
}
