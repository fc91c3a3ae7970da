import CetTensor

let indexOperators: [OperatorEntry] = [
  OperatorEntry("Gather") { call in
    let x = try call.input(0)
    let axis = try call.axis(call.int("axis", 0), rank: x.rank)
    return [try call.e.emit(Gather(axis: axis), x, call.e.convert(call.input(1), to: .int64))]
  },
]
