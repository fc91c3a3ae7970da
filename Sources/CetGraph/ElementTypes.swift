import CetTensor

extension Model {
  /// Every element type that an initializer, an input or output, or an attribute names.
  var elementTypes: Set<ElementType> {
    functions.reduce(into: graph.elementTypes) { types, function in for node in function.nodes { types.formUnion(node.elementTypes) } }
  }

  /// Whether anything in the model has 16-bit floats.
  public var hasHalfPrecision: Bool { elementTypes.contains(where: \.isHalf) }
}

extension Graph {
  fileprivate var elementTypes: Set<ElementType> {
    var types = Set(initializers.map(\.tensor.type))
    types.formUnion((inputs + outputs).compactMap(\.type))
    for node in nodes { types.formUnion(node.elementTypes) }
    return types
  }
}

extension Node {
  /// Attributes that name the element type of an output.
  private static let typeAttributes: Set<String> = ["to", "dtype", "output_dtype", "stash_type"]

  /// The element type that an attribute gives an output; nil for other attributes.
  static func namedType(_ name: String, _ attribute: Attribute) -> ElementType? {
    guard typeAttributes.contains(name), case .int(let value) = attribute else { return nil }
    return ElementType(rawValue: Int32(truncatingIfNeeded: value))
  }

  fileprivate var elementTypes: Set<ElementType> {
    var types: Set<ElementType> = []
    for (name, attribute) in attributes {
      switch attribute {
      case .tensor(let value): types.insert(value.tensor.type)
      case .tensors(let values): types.formUnion(values.map(\.tensor.type))
      default: if let type = Node.namedType(name, attribute) { types.insert(type) }
      }
    }
    for graph in subgraphs { types.formUnion(graph.elementTypes) }
    return types
  }
}

extension ElementType {
  var isHalf: Bool { self == .float16 || self == .bfloat16 }
}
