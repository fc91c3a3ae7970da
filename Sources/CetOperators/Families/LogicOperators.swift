import CetTensor

private func compare(_ type: String, _ relation: Compare.Relation, versions: ClosedRange<Int> = 7...26) -> OperatorEntry {
  OperatorEntry(type, versions: versions, derivatives: .zero) { call in
    [try call.e.compare(relation, call.input(0), call.input(1))]
  }
}

private func bitwise(_ type: String, _ function: Bitwise.Function, versions: ClosedRange<Int> = 7...26) -> OperatorEntry {
  OperatorEntry(type, versions: versions, derivatives: .zero) { call in
    [try call.e.emit(Bitwise(function), call.input(0), call.input(1))]
  }
}

let logicOperators: [OperatorEntry] = [
  compare("Equal", .equal), compare("Less", .less), compare("Greater", .greater),
  compare("LessOrEqual", .lessOrEqual, versions: 12...26), compare("GreaterOrEqual", .greaterOrEqual, versions: 12...26),
  bitwise("And", .and), bitwise("Or", .or), bitwise("Xor", .xor),
  bitwise("BitwiseAnd", .and, versions: 18...26), bitwise("BitwiseOr", .or, versions: 18...26),
  bitwise("BitwiseXor", .xor, versions: 18...26),
  OperatorEntry("BitShift", versions: 11...26, derivatives: .zero) { call in
    let left = try call.string("direction", "") == "LEFT"
    return [try call.e.emit(Bitwise(left ? .shiftLeft : .shiftRight), call.input(0), call.input(1))]
  },
  OperatorEntry("Not", derivatives: .zero) { call in [try call.e.not(call.input(0))] },
  OperatorEntry("Where", versions: 9...26) { call in
    [try call.e.emit(Select(), call.input(0), call.input(1), call.input(2))]
  },
]
