import CetTensor

extension Model {
  /// The model with float32 wherever it has 16-bit floats: initializers keep their values, casts to 16 bits are to
  /// float32. What it computes differs from the model by the rounding of 16-bit arithmetic.
  public func widened() throws(CetError) -> Model {
    guard hasHalfPrecision else { return self }
    var model = self
    model.graph = try graph.widened()
    for index in functions.indices { model.functions[index].nodes = try functions[index].nodes.widened() }
    return model
  }
}

extension Graph {
  fileprivate func widened() throws(CetError) -> Graph {
    var graph = self
    graph.initializers = try initializers.map { initializer throws(CetError) in try initializer.widened() }
    graph.nodes = try nodes.widened()
    graph.inputs = inputs.map(\.widened)
    graph.outputs = outputs.map(\.widened)
    return graph
  }
}

extension [Node] {
  fileprivate func widened() throws(CetError) -> [Node] { try map { node throws(CetError) in try node.widened() } }
}

extension ValueInfo {
  fileprivate var widened: ValueInfo {
    var info = self
    if type?.isHalf ?? false { info.type = .float32 }
    return info
  }
}

extension Initializer {
  fileprivate func widened() throws(CetError) -> Initializer {
    guard tensor.type.isHalf else { return self }
    return Initializer(name: name, tensor: try Conversion.convert(tensor, to: .float32, ComputeContext()))
  }
}

extension Node {
  fileprivate func widened() throws(CetError) -> Node {
    var node = try mapGraphs { graph throws(CetError) in graph = try graph.widened() }
    for (name, attribute) in attributes {
      switch attribute {
      case .tensor(let value): node.attributes[name] = .tensor(try value.widened())
      case .tensors(let values): node.attributes[name] = .tensors(try values.map { value throws(CetError) in try value.widened() })
      default:
        if Node.namedType(name, attribute)?.isHalf ?? false { node.attributes[name] = .int(Int64(ElementType.float32.rawValue)) }
      }
    }
    return node
  }
}
