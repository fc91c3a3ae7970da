import CetOperators
import CetTensor

/// The memory that runs of a program take, found by going through them without computing: which values have memory, and the
/// buffers that an arena comes to hold for them in one thread. Buffers are recycled within their size class.
struct MemoryWalk {
  let program: Program
  /// The value whose memory a value lies in; nil for what is fed or constant.
  private var owner: [Int: Int] = [:]
  /// By owner, values that use it.
  private var users: [Int: Int] = [:]
  /// Buffers in use and in use at most, by size.
  private var live: [Int: Int] = [:]
  private var most: [Int: Int] = [:]
  private var held = 0
  /// Bytes of the buffers in use at a time, at most.
  private(set) var heldByteCount = 0

  init(_ program: Program) { self.program = program }

  /// Bytes of all buffers so far, in use or waiting to be used again.
  var byteCount: Int { most.reduce(0) { $0 + $1.key * $1.value } }

  mutating func make(_ id: Int, by step: Step) {
    // A reshaped tensor shares the memory of its operand, and so do the entries of axis 0.
    let shares = step.primitive is Reshape || (step.primitive as? Unstack)?.axis == 0
    if shares, let operand = step.inputs.first { share(id, with: operand) } else { make(id) }
  }

  mutating func make(_ id: Int) {
    owner[id] = id
    users[id] = 1
    take(program.values[id].type.byteCount)
  }

  mutating func share(_ id: Int, with other: Int) {
    guard let shared = owner[other] else { return }
    owner[id] = shared
    users[shared, default: 0] += 1
  }

  mutating func release(_ id: Int) {
    guard let held = owner.removeValue(forKey: id), let count = users[held] else { return }
    users[held] = count - 1
    if count == 1 { give(program.values[held].type.byteCount) }
  }

  /// Takes over the memory of a value that is read no more.
  mutating func replace(_ old: Int, by new: Int) -> Bool {
    guard let held = owner[old], held == old, users[held] == 1 else { return false }
    owner[old] = nil
    owner[new] = held
    return true
  }

  /// Memory that is held within one step.
  mutating func scratch(_ sizes: [Int]) {
    for bytes in sizes { take(bytes) }
    for bytes in sizes { give(bytes) }
  }

  /// Goes through what happens while all that is held stays held by somebody else.
  mutating func beside(_ walk: (inout MemoryWalk) -> Void) {
    let outer = (owner, users)
    (owner, users) = ([:], [:])
    walk(&self)
    releaseAll()
    (owner, users) = outer
  }

  mutating func releaseAll() {
    for id in Array(owner.keys) { release(id) }
  }

  /// Bytes of these values, shared memory counted once.
  func byteCount(_ ids: [Int]) -> Int {
    Set(ids.compactMap { owner[$0] }).reduce(0) { $0 + Arena.capacity(for: program.values[$1].type.byteCount) }
  }

  private mutating func take(_ bytes: Int) {
    let size = Arena.capacity(for: bytes)
    live[size, default: 0] += 1
    most[size] = max(most[size] ?? 0, live[size] ?? 0)
    held += size
    heldByteCount = max(heldByteCount, held)
  }

  private mutating func give(_ bytes: Int) {
    let size = Arena.capacity(for: bytes)
    live[size, default: 0] -= 1
    held -= size
  }
}
