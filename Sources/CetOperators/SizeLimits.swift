import CetGraph
import CetTensor

/// What a file asks for is refused before anything of that size is made: a node of a few bytes can name a terabyte.
extension Emitter {
  /// Turns of a loop, or steps of a sequence, that one node may be unrolled into.
  private static let turnLimit = 1 << 17

  /// Nodes that a program may be made of, all turns of loops counted.
  private static let nodeLimit = 1 << 18

  /// Counts a node that is lowered.
  func countNode() throws(CetError) {
    loweredNodes += 1
    try foresee(nodes: 0)
  }

  /// Throws unless so many more nodes may be lowered.
  func foresee(nodes count: Int) throws(CetError) {
    guard Int.saturatingSum(loweredNodes, count) <= Emitter.nodeLimit else {
      throw CetError(.unsupportedOperator, "loops and functions unroll into more than \(Emitter.nodeLimit) nodes")
    }
  }

  /// Nodes, and constants of bodies, that may be looked at: bodies and functions may have many that nothing reads.
  private static let visitLimit = 1 << 21

  /// Counts what is gone through before a body or function is lowered.
  func visit(_ graph: Graph) throws(CetError) {
    try context.interruption.check()
    visitedNodes = Int.saturatingSum(visitedNodes, graph.nodes.count + graph.initializers.count)
    guard visitedNodes <= Emitter.visitLimit else {
      throw CetError(.unsupportedOperator, "loops and functions unroll into more than \(Emitter.visitLimit) nodes and constants")
    }
  }

  /// Throws where the call that makes the program may not do so much work.
  public func spend(_ work: Int) throws(CetError) {
    computedWork = Int.saturatingSum(computedWork, work)
    guard computedWork <= context.workLimit else { throw CetError(.unsupportedOperator, CetError.tooMuchWork) }
  }

  /// Throws unless `count` entries of `width` bytes may be made.
  public func reserve(_ count: Int, width: Int = 8, _ what: @autoclosure () -> String) throws(CetError) {
    let bytes = Int.saturatingProduct(count, width)
    guard bytes <= context.memoryLimit else {
      throw CetError(.outOfMemory, "\(what()) needs \(bytes) bytes, max_memory is \(context.memoryLimit)", bytesNeeded: bytes)
    }
  }

  /// Throws unless an operator may make and fill arrays of its own.
  /// - Parameters:
  ///   - width: bytes of an entry, with what is made of it while it is there.
  ///   - work: of an entry, in nanoseconds.
  public func foresee(entries count: Int, width: Int, work: Int, _ what: @autoclosure () -> String) throws(CetError) {
    try context.interruption.check()
    try reserve(count, width: width, what())
    try SystemMemory.checkRoom(for: .saturatingProduct(count, width))
    try spend(.saturatingProduct(max(0, count), work))
  }

  /// Axes that a value may have: kernels go through all of them for every step, and a node of a few bytes can name a million.
  private static let axisLimit = 255

  func checkAxes(_ types: [TensorType]) throws(CetError) {
    for type in types where type.shape.count > Emitter.axisLimit {
      throw CetError(.unsupportedOperator, "a value has \(type.shape.count) axes, expected at most \(Emitter.axisLimit)")
    }
  }

  /// Throws unless a result of this shape may be made; for operators that make it in steps, or lists of its size first.
  public func reserve(_ element: ElementType, _ shape: [Int]) throws(CetError) {
    guard let count = shape.validatedCount else {
      throw CetError(.shapeMismatch, "a result of shape \(shape.shapeText) is negative or too large")
    }
    try reserve(count, width: element.byteWidth, "a result of \(element) \(shape.shapeText)")
  }

  /// Throws unless each result of a call fits, and together with all constants so far when it is computed at once.
  func reserve(_ types: [TensorType], isComputed: Bool) throws(CetError) {
    for type in types {
      // What was inferred has a valid count, which leaves room for the width of an element.
      let bytes = type.byteCount
      var others = bytes <= context.memoryLimit ? nil : 0
      if others == nil, isComputed { others = program.computed?.take(bytes, limit: context.memoryLimit) }
      if let others {
        let beside = others > 0 ? " beside \(others) of constants" : ""
        throw CetError(
          .outOfMemory,
          "a result of \(type.element) \(type.shape.shapeText) needs \(bytes) bytes\(beside), max_memory is \(context.memoryLimit)",
          bytesNeeded: bytes + others)
      }
    }
  }

  /// 0 ..< count as a constant.
  public func ramp(_ count: Int) throws(CetError) -> Value {
    try reserve(count, "a range of \(count) numbers")
    try spend(.saturatingProduct(max(0, count), 4))
    let tensor = try Tensor(uninitialized: .int64, [max(0, count)])
    let target = tensor.elements(as: Int64.self)
    try context.pieces(count) { piece in
      for place in piece { target[place] = Int64(place) }
    }
    return constant(tensor)
  }

  /// The turns 0 ..< count of what is unrolled.
  public func turns(_ count: Int) throws(CetError) -> Range<Int> {
    guard count <= Emitter.turnLimit else {
      throw CetError(.unsupportedOperator, "\(count) steps are unrolled, expected at most \(Emitter.turnLimit)")
    }
    return 0..<max(0, count)
  }
}

extension CetError {
  fileprivate static let tooMuchWork = "what is constant is too much work to be computed here"

  /// Whether it was thrown because a call that nobody can end was asked for too much.
  public var isTooMuchWork: Bool { code == .unsupportedOperator && message.hasSuffix(CetError.tooMuchWork) }
}
