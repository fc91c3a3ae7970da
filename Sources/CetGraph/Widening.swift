import CetTensor

extension Model {
  /// The model with float32 wherever it has 16-bit floats: initializers keep their values, casts to 16 bits are to
  /// float32. What it computes differs from the model by the rounding of 16-bit arithmetic.
  public func widened() throws -> Model {
    guard hasHalfPrecision else { return self }
    var model = self
    model.graph = try graph.widened()
    for index in functions.indices { model.functions[index].nodes = try functions[index].nodes.map { try $0.widened() } }
    return model
  }
}

extension Graph {
  fileprivate func widened() throws -> Graph {
    var graph = self
    graph.initializers = try initializers.map { try $0.widened() }
    graph.nodes = try nodes.map { try $0.widened() }
    graph.inputs = inputs.map(\.widened)
    graph.outputs = outputs.map(\.widened)
    return graph
  }
}

extension ValueInfo {
  fileprivate var widened: ValueInfo {
    var info = self
    if type?.isHalf ?? false { info.type = .float32 }
    return info
  }
}

extension Initializer {
  fileprivate func widened() throws -> Initializer {
    guard tensor.type.isHalf else { return self }
    return Initializer(name: name, tensor: try Conversion.convert(tensor, to: .float32, ComputeContext()))
  }
}

extension Node {
  fileprivate func widened() throws -> Node {
    var node = try mapGraphs { $0 = try $0.widened() }
    for (name, attribute) in attributes {
      switch attribute {
      case .tensor(let value): node.attributes[name] = .tensor(try value.widened())
      case .tensors(let values): node.attributes[name] = .tensors(try values.map { try $0.widened() })
      default:
        if Node.namedType(name, attribute)?.isHalf ?? false { node.attributes[name] = .int(Int64(ElementType.float32.rawValue)) }
      }
    }
    return node
  }
}
