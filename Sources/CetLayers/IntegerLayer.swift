import CetGraph

extension Activation {
  /// From so many bits on runtimes compute with an activation's codes.
  public static let integerBits = 8

  /// The layers, by index, that runtimes compute with integers where the activation is rounded to so many bits.
  public func integerLayers(_ layers: [LinearLayer], bits: Int) -> [Int] {
    bits >= Activation.integerBits ? self.layers.filter { layers[$0].takesIntegers } : []
  }
}

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
