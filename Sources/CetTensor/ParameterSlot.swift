/// A weight tensor as a stretch of the parameter vector.
public struct ParameterSlot: Sendable, Equatable {
  public let name: String
  public let shape: [Int]
  /// First element in the parameter vector.
  public let offset: Int
  public var count: Int { shape.elementCount }

  public init(name: String, shape: [Int], offset: Int) {
    self.name = name
    self.shape = shape
    self.offset = offset
  }

  /// Tensors one behind the other.
  public static func laidOut(_ tensors: [(name: String, shape: [Int])]) -> [ParameterSlot] {
    var offset = 0
    return tensors.map { tensor in
      let slot = ParameterSlot(name: tensor.name, shape: tensor.shape, offset: offset)
      offset += slot.count
      return slot
    }
  }
}
