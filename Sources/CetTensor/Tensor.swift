/// How the elements of a tensor lie in memory.
public enum Layout: Sendable, Hashable {
  /// C order of the logical shape.
  case rowMajor
  /// Logical shape (N, C, spatial...), stored as (N, spatial..., C). Rank 3 and above only.
  case channelsLast
}

/// A dense, immutable-by-convention array: the shape is always the logical (ONNX) one, whatever the layout.
/// Whoever allocates a tensor fills it before sharing it; afterwards nobody writes to it.
public struct Tensor: @unchecked Sendable {
  public let type: ElementType
  public let shape: [Int]
  public let layout: Layout
  public private(set) var storage: Storage
  public let byteOffset: Int

  public var count: Int { shape.elementCount }
  public var byteCount: Int { count * type.byteWidth }
  public var rank: Int { shape.count }
  public var pointer: UnsafeMutableRawPointer { storage.pointer + byteOffset }

  public init(
    type: ElementType, shape: [Int], layout: Layout = .rowMajor, storage: Storage, byteOffset: Int = 0
  ) throws(CetError) {
    guard let count = shape.validatedCount else {
      throw CetError(.shapeMismatch, "shape \(shape.shapeText) is negative or too large")
    }
    let needed = byteOffset + count * type.byteWidth
    guard byteOffset >= 0, needed <= storage.byteCount else {
      throw CetError(
        .shapeMismatch,
        "shape \(shape.shapeText) \(type) needs \(needed) bytes, the memory has \(storage.byteCount)")
    }
    self.type = type
    self.shape = shape
    self.layout = shape.count < 3 ? .rowMajor : layout
    self.storage = storage
    self.byteOffset = byteOffset
  }

  /// Uninitialised; from the arena when there is one.
  public init(uninitialized type: ElementType, _ shape: [Int], layout: Layout = .rowMajor, arena: Arena? = nil) throws(CetError) {
    guard let count = shape.validatedCount else {
      throw CetError(.shapeMismatch, "shape \(shape.shapeText) is negative or too large")
    }
    let bytes = count * type.byteWidth
    let storage = try arena.storage(byteCount: bytes)
    try self.init(type: type, shape: shape, layout: layout, storage: storage)
  }

  public init<Element: TensorElement>(_ values: [Element], shape: [Int]) throws(CetError) {
    guard shape.validatedCount == values.count else {
      throw CetError(.shapeMismatch, "\(values.count) values do not fill shape \(shape.shapeText)")
    }
    try self.init(uninitialized: Element.elementType, shape)
    // As bytes: a loop over a generic element is a call per element outside this module.
    values.withUnsafeBytes { bytes in
      if let base = bytes.baseAddress { pointer.copyMemory(from: base, byteCount: bytes.count) }
    }
  }

  public init<Element: TensorElement>(scalar: Element) throws(CetError) {
    try self.init([scalar], shape: [])
  }

  public static func zeros(
    _ type: ElementType, _ shape: [Int], layout: Layout = .rowMajor, arena: Arena? = nil
  ) throws(CetError) -> Tensor {
    let tensor = try Tensor(uninitialized: type, shape, layout: layout, arena: arena)
    tensor.pointer.initializeMemory(as: UInt8.self, repeating: 0, count: tensor.byteCount)
    return tensor
  }

  /// Whether no other tensor shares the memory, so that its holder may overwrite it.
  public mutating func isUniquelyHeld() -> Bool { isKnownUniquelyReferenced(&storage) && !storage.isBorrowed }

  /// The elements in storage order. The caller has checked `type`.
  @inline(__always)
  public func elements<Element: TensorElement>(as: Element.Type = Element.self) -> UnsafeMutablePointer<Element> {
    pointer.assumingMemoryBound(to: Element.self)
  }

  @inline(__always)
  public var floats: UnsafeMutablePointer<Float> { pointer.assumingMemoryBound(to: Float.self) }

  /// The elements in C order as a Swift array; the element type must be the tensor's.
  public func array<Element: TensorElement>(as: Element.Type = Element.self) throws(CetError) -> [Element] {
    guard type == Element.elementType else {
      throw CetError(.invalidArgument, "", expected: "a \(Element.elementType) tensor", got: "\(type)")
    }
    let plain = try rowMajor()
    try SystemMemory.checkRoom(for: byteCount)
    return Array(UnsafeBufferPointer(start: plain.elements(as: Element.self), count: plain.count))
  }

  /// The same elements under another shape of the same count. Row-major tensors only share memory.
  public func reshaped(_ shape: [Int], arena: Arena? = nil) throws(CetError) -> Tensor {
    guard shape.validatedCount == count else {
      throw CetError(.shapeMismatch, "cannot reshape \(self.shape.shapeText) to \(shape.shapeText)")
    }
    let plain = try rowMajor(arena: arena)
    return try Tensor(type: type, shape: shape, storage: plain.storage, byteOffset: plain.byteOffset)
  }
}
