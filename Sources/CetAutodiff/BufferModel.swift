import CetOperators
import CetTensor

/// The buffers that an arena comes to hold in one thread's runs: buffers are recycled within their size class.
struct BufferModel {
  private var live: [Int: Int] = [:]
  private var most: [Int: Int] = [:]

  var byteCount: Int { most.reduce(0) { $0 + $1.key * $1.value } }

  mutating func take(_ bytes: Int) {
    let size = Arena.capacity(for: bytes)
    live[size, default: 0] += 1
    most[size] = max(most[size] ?? 0, live[size] ?? 0)
  }

  mutating func give(_ bytes: Int) { live[Arena.capacity(for: bytes), default: 0] -= 1 }
}

/// Which values of a program have memory, while its steps are gone through without computing.
struct ValueModel {
  private let program: Program
  /// The value whose memory a value lies in; nil for what is fed or constant.
  private var owner: [Int: Int] = [:]
  /// By owner, values that use it.
  private var users: [Int: Int] = [:]

  init(_ program: Program) { self.program = program }

  mutating func make(_ id: Int, by step: Step, _ buffers: inout BufferModel) {
    // A reshaped tensor shares the memory of its operand, and so do the entries of axis 0.
    let shares = step.primitive is Reshape || (step.primitive as? Unstack)?.axis == 0
    if shares, let operand = step.inputs.first { share(id, with: operand) } else { make(id, &buffers) }
  }

  mutating func make(_ id: Int, _ buffers: inout BufferModel) {
    owner[id] = id
    users[id] = 1
    buffers.take(program.values[id].type.byteCount)
  }

  mutating func share(_ id: Int, with other: Int) {
    guard let shared = owner[other] else { return }
    owner[id] = shared
    users[shared, default: 0] += 1
  }

  mutating func release(_ id: Int, _ buffers: inout BufferModel) {
    guard let held = owner.removeValue(forKey: id), let count = users[held] else { return }
    users[held] = count - 1
    if count == 1 { buffers.give(program.values[held].type.byteCount) }
  }

  /// Takes over the memory of a value that is read no more.
  mutating func replace(_ old: Int, by new: Int, _ buffers: inout BufferModel) -> Bool {
    guard let held = owner[old], held == old, users[held] == 1 else { return false }
    owner[old] = nil
    owner[new] = held
    return true
  }

  mutating func releaseAll(_ buffers: inout BufferModel) {
    for id in Array(owner.keys) { release(id, &buffers) }
  }

  /// Bytes of these values, shared memory counted once.
  func byteCount(_ ids: [Int]) -> Int {
    Set(ids.compactMap { owner[$0] }).reduce(0) { $0 + Arena.capacity(for: program.values[$1].type.byteCount) }
  }
}
