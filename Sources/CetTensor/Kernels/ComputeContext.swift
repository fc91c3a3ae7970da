/// What kernels need besides their operands: where results are allocated and what was compiled for earlier
/// calls. Several threads may call kernels with one context at the same time; every kernel runs on the thread
/// that calls it, inside `SerialKernels.run`.
public final class ComputeContext: @unchecked Sendable {
  public let arena: Arena
  /// Asked before every step.
  public let interruption: Interruption
  /// Bytes that a value of a program, and all that is computed while programs are made, may have.
  public let memoryLimit: Int
  /// What programs hold that were computed while they were made, beside each other.
  public let account: MemoryAccount
  /// Work that may be done while a program is made (`Primitive.work`): for calls that nobody can end.
  public let workLimit: Int
  /// Whether convolutions may be computed by minimal filtering (`Winograd`).
  let minimalFiltering: Bool

  #if CET_ONEDNN
    /// nil when the engine cannot be made; kernels then use OpenBLAS.
    let oneDNN: OneDNN?
  #endif

  public init(
    arena: Arena = Arena(), memoryLimit: Int = .max, workLimit: Int = .max, interruption: Interruption = Interruption()
  ) {
    self.arena = arena
    self.memoryLimit = memoryLimit
    self.workLimit = workLimit
    account = MemoryAccount()
    self.interruption = interruption
    minimalFiltering = false
    #if CET_ONEDNN
      oneDNN = OneDNN()
    #endif
  }

  private init(_ other: ComputeContext, minimalFiltering: Bool) {
    arena = other.arena
    interruption = other.interruption
    memoryLimit = other.memoryLimit
    account = other.account
    workLimit = other.workLimit
    self.minimalFiltering = minimalFiltering
    #if CET_ONEDNN
      oneDNN = other.oneDNN
    #endif
  }

  /// The same memory and kernels, with convolutions that are several times faster and whose rounding errors are a few
  /// times larger: for values that no kink (of a relu, a clip) is decided by.
  public var fast: ComputeContext { ComputeContext(self, minimalFiltering: true) }
}

extension Tensor {
  /// Throws unless the tensor has this shape and type.
  func require(_ shape: [Int], type: ElementType = .float32, _ what: String) throws(CetError) {
    guard self.type == type, self.shape == shape else {
      throw CetError(
        .shapeMismatch, what, expected: "\(type) \(shape.shapeText)", got: "\(self.type) \(self.shape.shapeText)")
    }
  }

  /// The same elements in memory of their own.
  public func copied(arena: Arena?) throws(CetError) -> Tensor {
    let result = try Tensor(uninitialized: type, shape, layout: layout, arena: arena)
    result.pointer.copyMemory(from: pointer, byteCount: byteCount)
    return result
  }

  /// Memory that a kernel may write its result to: the tensor in this layout, or a copy of it when one of the
  /// operands that the kernel still reads lies in the same memory.
  func writable(_ layout: Layout, operands: [Tensor?], _ context: ComputeContext) throws(CetError) -> Tensor {
    let converted = try converted(to: layout, arena: context.arena)
    guard operands.contains(where: { $0?.storage === converted.storage }) else { return converted }
    return try converted.copied(arena: context.arena)
  }
}
