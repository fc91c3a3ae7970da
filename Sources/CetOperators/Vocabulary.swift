import CetTensor

/// Short forms for the primitives, with the simplifications that rules would otherwise repeat.
extension Emitter {
  public func unary(_ function: Unary.Function, _ x: Value) throws(CetError) -> Value { try emit(Unary(function), x) }
  public func binary(_ function: Binary.Function, _ a: Value, _ b: Value) throws(CetError) -> Value {
    try emit(Binary(function), a, b)
  }

  public func add(_ a: Value, _ b: Value) throws(CetError) -> Value { try binary(.add, a, b) }
  public func subtract(_ a: Value, _ b: Value) throws(CetError) -> Value { try binary(.subtract, a, b) }
  public func multiply(_ a: Value, _ b: Value) throws(CetError) -> Value { try binary(.multiply, a, b) }
  public func divide(_ a: Value, _ b: Value) throws(CetError) -> Value { try binary(.divide, a, b) }
  public func negate(_ x: Value) throws(CetError) -> Value { try unary(.negate, x) }
  public func scale(_ x: Value, by factor: Double) throws(CetError) -> Value {
    factor == 1 ? x : try multiply(x, scalar(factor, x.element))
  }

  /// x > 0 ? g : 0
  public func gate(_ x: Value, _ g: Value) throws(CetError) -> Value { try binary(.gate, x, g) }
  /// condition ? x : 0. A mask of a mask is one mask: their conjunction does not move with the direction of a
  /// derivative, so that it is made once for many products.
  public func mask(_ condition: Value, _ x: Value) throws(CetError) -> Value {
    let zero = try scalar(0, x.element)
    if case .step(let index) = program.sources[x.id], program.steps[index].primitive is Select,
      program.steps[index].inputs[2] == zero.id
    {
      let inner = program.steps[index].inputs
      let (other, y) = (program.values[inner[0]], program.values[inner[1]])
      if other.shape == condition.shape, y.shape == x.shape {
        // One order for both ways round, so that forward and reverse mode share the conjunction.
        let (first, second) = other.id < condition.id ? (other, condition) : (condition, other)
        return try emit(Select(), emit(Bitwise(.and), first, second), y, zero)
      }
    }
    return try emit(Select(), condition, x, zero)
  }
  public func compare(_ relation: Compare.Relation, _ a: Value, _ b: Value) throws(CetError) -> Value {
    try emit(Compare(relation), a, b)
  }
  public func not(_ condition: Value) throws(CetError) -> Value { try emit(Bitwise(.xor), condition, scalar(1, .bool)) }

  /// The sum of two terms of which each may be zero.
  public func sum(_ a: Value?, _ b: Value?) throws(CetError) -> Value? {
    guard let a else { return b }
    guard let b else { return a }
    return try add(a, b)
  }

  public func zeros(_ type: TensorType) throws(CetError) -> Value { try expand(scalar(0, type.element), type.shape) }

  public func reshape(_ x: Value, _ shape: [Int]) throws(CetError) -> Value { x.shape == shape ? x : try emit(Reshape(shape), x) }

  public func expand(_ x: Value, _ shape: [Int]) throws(CetError) -> Value { x.shape == shape ? x : try emit(Expand(shape), x) }

  public func transpose(_ x: Value, _ permutation: [Int]) throws(CetError) -> Value {
    permutation == Array(0..<x.rank) ? x : try emit(Transpose(permutation), x)
  }

  public func convert(_ x: Value, to element: ElementType) throws(CetError) -> Value {
    x.element == element ? x : try emit(Convert(to: element), x)
  }

  public func sum(_ x: Value, axes: [Int]) throws(CetError) -> Value { axes.isEmpty ? x : try emit(Sum(axes: axes), x) }

  /// Sums over the axes along which `shape` was broadcast to the shape of x.
  public func sumTo(_ x: Value, _ shape: [Int]) throws(CetError) -> Value {
    if x.shape == shape { return x }
    let lead = x.rank - shape.count
    let axes = (0..<x.rank).filter { $0 < lead || (shape[$0 - lead] == 1 && x.shape[$0] != 1) }
    return try reshape(sum(x, axes: axes), shape)
  }

  public func matrixProduct(
    _ a: Value, _ b: Value, transposeLeft: Bool = false, transposeRight: Bool = false
  ) throws(CetError) -> Value {
    // A transposed operand is read so, and not made: its rows then stay together.
    let (x, swapsLeft) = try withLastAxesInOrder(a)
    let (y, swapsRight) = try withLastAxesInOrder(b)
    return try emit(
      MatrixProduct(transposeLeft: transposeLeft != swapsLeft, transposeRight: transposeRight != swapsRight), x, y)
  }

  /// For the transpose of a value that exchanges what are now its last two axes, the transpose that does not; both are
  /// matrices of the same rows or columns.
  private func withLastAxesInOrder(_ x: Value) throws(CetError) -> (Value, swapped: Bool) {
    guard case .step(let index) = program.sources[x.id], let made = program.steps[index].primitive as? Transpose, x.rank >= 2,
      made.permutation[x.rank - 2] > made.permutation[x.rank - 1]
    else { return (x, false) }
    var permutation = made.permutation
    permutation.swapAt(x.rank - 2, x.rank - 1)
    return (try transpose(program.values[program.steps[index].inputs[0]], permutation), true)
  }
}
