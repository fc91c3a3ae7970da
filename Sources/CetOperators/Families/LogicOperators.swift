import CetTensor

private func compare(_ type: String, _ relation: Compare.Relation, versions: ClosedRange<Int> = allOpsets) -> OperatorEntry {
  OperatorEntry(type, versions: versions, derivatives: .zero) { call in
    [try call.e.compare(relation, call.input(0), call.input(1))]
  }
}

private func bitwise(_ type: String, _ function: Bitwise.Function, versions: ClosedRange<Int> = allOpsets) -> OperatorEntry {
  OperatorEntry(type, versions: versions, derivatives: .zero) { call in
    [try call.e.emit(Bitwise(function), call.input(0), call.input(1))]
  }
}

let logicOperators: [OperatorEntry] = [
  compare("Equal", .equal), compare("Less", .less), compare("Greater", .greater),
  compare("LessOrEqual", .lessOrEqual, versions: 12...newestOpset), compare("GreaterOrEqual", .greaterOrEqual, versions: 12...newestOpset),
  bitwise("And", .and), bitwise("Or", .or), bitwise("Xor", .xor),
  bitwise("BitwiseAnd", .and, versions: 18...newestOpset), bitwise("BitwiseOr", .or, versions: 18...newestOpset),
  bitwise("BitwiseXor", .xor, versions: 18...newestOpset),
  OperatorEntry("BitShift", versions: 11...newestOpset, derivatives: .zero) { call in
    let left = try call.string("direction", "") == "LEFT"
    return [try call.e.emit(Bitwise(left ? .shiftLeft : .shiftRight), call.input(0), call.input(1))]
  },
  // x ⊻ (0 − 1): all bits of −1 are set
  OperatorEntry("BitwiseNot", versions: 18...newestOpset, derivatives: .zero) { call in
    let (x, e) = (try call.input(0), call.e)
    let ones = try e.subtract(e.scalar(0, x.element), e.scalar(1, x.element))
    return [try e.emit(Bitwise(.xor), x, ones)]
  },
  OperatorEntry("BitCast", versions: 26...newestOpset, derivatives: .zero) { call in
    guard let type = try call.elementType("to") else { throw CetError(.invalidModel, "attribute 'to' is missing") }
    return [try call.e.emit(Reinterpret(as: type), call.input(0))]
  },
  OperatorEntry("IsNaN", versions: 9...newestOpset, derivatives: .zero) { call in
    let x = try call.input(0)
    return [try call.e.not(call.e.compare(.equal, x, x))]
  },
  OperatorEntry("IsInf", versions: 10...newestOpset, derivatives: .zero) { call in
    let (x, e) = (try call.input(0), call.e)
    let up = try e.compare(.equal, x, e.scalar(.infinity, x.element))
    let down = try e.compare(.equal, x, e.scalar(-.infinity, x.element))
    switch (try call.int("detect_positive", 1) != 0, try call.int("detect_negative", 1) != 0) {
    case (true, true): return [try e.emit(Bitwise(.or), up, down)]
    case (true, false): return [up]
    case (false, true): return [down]
    case (false, false): return [try e.zeros(TensorType(.bool, x.shape))]
    }
  },
  OperatorEntry("Not", derivatives: .zero) { call in [try call.e.not(call.input(0))] },
  OperatorEntry("Where", versions: 9...newestOpset) { call in
    [try call.e.emit(Select(), call.input(0), call.input(1), call.input(2))]
  },
]
