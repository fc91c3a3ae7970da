import Glibc

/// Reference-counted, 64-byte aligned memory, or a borrowed range that a keeper object holds alive.
public final class Storage: @unchecked Sendable {
  /// The first byte. Memory made by `init(deferringCopyOf:)` is filled on the first use.
  public var pointer: UnsafeMutableRawPointer {
    deferred?.complete(into: base, byteCount: byteCount)
    return base
  }
  public let byteCount: Int
  private let base: UnsafeMutableRawPointer
  private let owner: Owner
  private let deferred: DeferredCopy?

  private enum Owner {
    case heap
    case arena(Arena, capacity: Int)
    case borrowed(AnyObject)
  }

  /// Whether the memory belongs to somebody else, who may read it whatever the reference count says.
  var isBorrowed: Bool { if case .borrowed = owner { true } else { false } }

  /// Uninitialised memory from the heap.
  public init(byteCount: Int) throws(CetError) {
    base = try Storage.allocate(byteCount)
    self.byteCount = byteCount
    owner = .heap
    deferred = nil
  }

  /// Aligned memory that takes a copy of `source` when it is first asked for. Opening a large file whose
  /// tensors are not aligned then costs no copy of what nobody reads. `keeper` keeps `source` alive.
  public init(deferringCopyOf source: UnsafeRawPointer, byteCount: Int, keeper: AnyObject) throws(CetError) {
    base = try Storage.allocate(byteCount)
    self.byteCount = byteCount
    owner = .heap
    deferred = DeferredCopy(source: source, keeper: keeper)
  }

  /// A view of memory that `keeper` keeps alive (a file's bytes, another storage). Must not be written to
  /// unless the keeper's owner allows it.
  public init(borrowing pointer: UnsafeRawPointer, byteCount: Int, keeper: AnyObject) {
    base = UnsafeMutableRawPointer(mutating: pointer)
    self.byteCount = byteCount
    owner = .borrowed(keeper)
    deferred = nil
  }

  fileprivate init(pointer: UnsafeMutableRawPointer, byteCount: Int, arena: Arena, capacity: Int) {
    base = pointer
    self.byteCount = byteCount
    owner = .arena(arena, capacity: capacity)
    deferred = nil
  }

  deinit {
    switch owner {
    case .heap: free(base)
    case .arena(let arena, let capacity): arena.giveBack(base, capacity: capacity)
    case .borrowed: break
    }
  }

  fileprivate static func allocate(_ byteCount: Int) throws(CetError) -> UnsafeMutableRawPointer {
    let memory: UnsafeMutableRawPointer? = byteCount < 0 ? nil : SystemMemory.ifRoom(for: byteCount) {
      var memory: UnsafeMutableRawPointer?
      return posix_memalign(&memory, 64, max(byteCount, 64)) == 0 ? memory : nil
    }
    guard let memory else { throw CetError(.outOfMemory, "cannot allocate \(byteCount) bytes", bytesNeeded: byteCount) }
    return memory
  }
}

/// A copy that is made once, by whichever thread needs it first.
private final class DeferredCopy: @unchecked Sendable {
  private let lock = Lock()
  private let source: UnsafeRawPointer
  private var keeper: AnyObject?  // nil once copied

  init(source: UnsafeRawPointer, keeper: AnyObject) {
    self.source = source
    self.keeper = keeper
  }

  func complete(into target: UnsafeMutableRawPointer, byteCount: Int) {
    lock.withLock {
      guard keeper != nil else { return }
      target.copyMemory(from: source, byteCount: byteCount)
      keeper = nil
    }
  }
}

/// Recycles buffers between steps, so that a run does not return every activation to the system and
/// fault its pages in again. Thread-safe; buffers go back when their last `Storage` reference goes.
public final class Arena: @unchecked Sendable {
  private let lock = Lock()
  private var free: [Int: [UnsafeMutableRawPointer]] = [:]
  private var held = 0
  private var total = 0
  private var most = 0

  public init() {}

  public func storage(byteCount: Int) throws(CetError) -> Storage {
    let capacity = Arena.capacity(for: byteCount)
    let recycled: UnsafeMutableRawPointer? = lock.withLock {
      guard let pointer = free[capacity]?.popLast() else { return nil }
      held -= capacity
      return pointer
    }
    let pointer = try recycled.or(Storage.allocate(capacity))
    if recycled == nil {
      lock.withLock {
        total += capacity
        most = max(most, total)
      }
    }
    return Storage(pointer: pointer, byteCount: byteCount, arena: self, capacity: capacity)
  }

  /// Bytes that are kept for reuse and not in use.
  public var idleByteCount: Int { lock.withLock { held } }

  /// The most bytes that were held at a time, in use or idle.
  public var peakByteCount: Int { lock.withLock { most } }

  /// Returns all idle buffers to the system.
  public func trim() {
    let pointers = lock.withLock {
      let all = free.values.flatMap { $0 }
      free.removeAll()
      total -= held
      held = 0
      return all
    }
    for pointer in pointers { Glibc.free(pointer) }
  }

  deinit {
    for pointers in free.values { for pointer in pointers { Glibc.free(pointer) } }
  }

  fileprivate func giveBack(_ pointer: UnsafeMutableRawPointer, capacity: Int) {
    lock.withLock {
      free[capacity, default: []].append(pointer)
      held += capacity
    }
  }

  /// Sizes are rounded up to an eighth of their power of two: few classes, at most 12.5 % waste.
  public static func capacity(for byteCount: Int) -> Int {
    guard byteCount > 512 else { return 512 }
    let step = 1 << (Int.bitWidth - 1 - (byteCount - 1).leadingZeroBitCount - 3)
    return (byteCount + step - 1) / step * step
  }
}

extension Arena? {
  /// Memory of the arena; of the heap where there is none.
  public func storage(byteCount: Int) throws(CetError) -> Storage {
    if let self { try self.storage(byteCount: byteCount) } else { try Storage(byteCount: byteCount) }
  }
}

/// A mutex that lives in the heap, so that it can be a stored property of a class.
public final class Lock: @unchecked Sendable {
  private let mutex: UnsafeMutablePointer<pthread_mutex_t>

  public init() {
    mutex = .allocate(capacity: 1)
    mutex.initialize(to: pthread_mutex_t())
    pthread_mutex_init(mutex, nil)
  }

  deinit {
    pthread_mutex_destroy(mutex)
    mutex.deallocate()
  }

  /// nil where another thread holds the lock.
  public func ifFree<Result, Failure>(_ body: () throws(Failure) -> Result) throws(Failure) -> Result? {
    guard pthread_mutex_trylock(mutex) == 0 else { return nil }
    defer { pthread_mutex_unlock(mutex) }
    return try body()
  }

  public func withLock<Result, Failure>(_ body: () throws(Failure) -> Result) throws(Failure) -> Result {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    return try body()
  }
}
