import CetGraph

extension LinearLayer {
  /// Whether runtimes compute the layer with integers where its input and its weight are codes: a convolution or a
  /// matrix product that reads the weight as it is.
  public var takesIntegers: Bool {
    guard node.domain.isEmpty, node.input(1) == name, elementType == .float32, !isMoved, isReplaceable else { return false }
    switch (node.operatorType, kind) {
    case ("Conv", .convolution), ("Gemm", .matrix), ("MatMul", .matrix): return true
    default: return false
    }
  }
}
