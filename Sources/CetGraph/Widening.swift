import CetTensor

extension Model {
  /// Whether anything in the model has 16-bit floats.
  public var hasHalfPrecision: Bool {
    graph.hasHalfPrecision || functions.contains { $0.nodes.contains(where: \.hasHalfPrecision) }
  }

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

extension ElementType {
  var isHalf: Bool { self == .float16 || self == .bfloat16 }
}

extension Graph {
  fileprivate var hasHalfPrecision: Bool {
    initializers.contains { $0.tensor.type.isHalf } || nodes.contains(where: \.hasHalfPrecision)
      || (inputs + outputs).contains { $0.type?.isHalf ?? false }
  }

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
  /// Attributes that name the element type of an output.
  private static let typeAttributes: Set<String> = ["to", "dtype", "output_dtype", "stash_type"]

  private func isHalfType(_ name: String, _ attribute: Attribute) -> Bool {
    guard Node.typeAttributes.contains(name), case .int(let value) = attribute else { return false }
    return value == ElementType.float16.rawValue || value == ElementType.bfloat16.rawValue
  }

  fileprivate var hasHalfPrecision: Bool {
    attributes.contains { name, attribute in
      switch attribute {
      case .tensor(let value): value.tensor.type.isHalf
      case .tensors(let values): values.contains { $0.tensor.type.isHalf }
      case .graph(let graph): graph.hasHalfPrecision
      case .graphs(let graphs): graphs.contains(where: \.hasHalfPrecision)
      default: isHalfType(name, attribute)
      }
    }
  }

  fileprivate func widened() throws -> Node {
    var node = self
    for (name, attribute) in attributes {
      switch attribute {
      case .tensor(let value): node.attributes[name] = .tensor(try value.widened())
      case .tensors(let values): node.attributes[name] = .tensors(try values.map { try $0.widened() })
      case .graph(let graph): node.attributes[name] = .graph(try graph.widened())
      case .graphs(let graphs): node.attributes[name] = .graphs(try graphs.map { try $0.widened() })
      default: if isHalfType(name, attribute) { node.attributes[name] = .int(Int64(ElementType.float32.rawValue)) }
      }
    }
    return node
  }
}
