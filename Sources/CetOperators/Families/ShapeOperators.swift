import CetGraph
import CetTensor

/// Operators that make constants or read shapes: with known shapes they all fold.
let shapeOperators: [OperatorEntry] = [
  OperatorEntry("Constant", derivatives: .zero) { call in
    let attributes = call.node.attributes
    if case .tensor(let initializer) = attributes["value"] { return [call.e.constant(initializer.tensor)] }
    if case .float(let value) = attributes["value_float"] { return [call.e.constant(try Tensor(scalar: value))] }
    if case .floats(let values) = attributes["value_floats"] {
      return [call.e.constant(try Tensor(values, shape: [values.count]))]
    }
    if case .int(let value) = attributes["value_int"] { return [call.e.constant(try Tensor(scalar: value))] }
    if case .ints(let values) = attributes["value_ints"] {
      return [call.e.constant(try Tensor(values, shape: [values.count]))]
    }
    throw CetError(.unsupportedOperator, "a constant that is neither a tensor nor numbers")
  },
  OperatorEntry("ConstantOfShape", versions: 9...newestOpset, derivatives: .zero) { call in
    let shape = try call.knownInts(0, "shape")
    var fill = try call.e.scalar(0)
    if case .tensor(let initializer) = call.node.attributes["value"] {
      guard initializer.tensor.count == 1 else {
        throw CetError(.invalidModel, "attribute 'value' has \(initializer.tensor.count) elements, expected 1")
      }
      fill = try call.e.reshape(call.e.constant(initializer.tensor), [])
    }
    return [try call.e.expand(fill, shape)]
  },
  OperatorEntry("Shape", derivatives: .zero) { call in
    let shape = try call.input(0).shape
    func clamped(_ bound: Int) -> Int { min(max(bound < 0 ? bound + shape.count : bound, 0), shape.count) }
    let start = clamped(try call.int("start", 0))
    let end = clamped(try call.int("end") ?? shape.count)
    return [try call.e.integers(start < end ? Array(shape[start..<end]) : [])]
  },
  OperatorEntry("Size", derivatives: .zero) { call in
    [call.e.constant(try Tensor(scalar: Int64(call.input(0).shape.elementCount)))]
  },
  OperatorEntry("Range", versions: 11...newestOpset, derivatives: .zero) { call in
    let element = try call.input(0).element
    let (start, limit, delta) = (
      try call.knownScalar(0, "start"), try call.knownScalar(1, "limit"), try call.knownScalar(2, "delta")
    )
    let steps = ((limit - start) / delta).rounded(.up)
    guard delta != 0, steps.isFinite, steps < 0x1p28 else {
      throw CetError(.invalidArgument, "a range from \(start) to \(limit) by \(delta)")
    }
    let count = max(0, Int(saturating: steps))
    // In double, and in its own type.
    try call.e.reserve(count, width: 8 + element.byteWidth, "a range of \(count) numbers")
    try call.e.spend(.saturatingProduct(count, 8))
    let values = try Tensor(uninitialized: .float64, [count])
    let target = values.elements(as: Double.self)
    try call.e.context.pieces(count) { piece in
      for place in piece { target[place] = start + Double(place) * delta }
    }
    return [call.e.constant(try Conversion.convert(values, to: element, call.e.context))]
  },
]
