import CetTensor
import Glibc

/// A sum of vectors over all batches of all processes, in double, in the order of a `ShardTree`.
final class ShardedSum {
  private let tree: ShardTree
  let count: Int
  private let communicator: Communicator?
  private let leaves: Range<Int>
  private var leaf: Int?
  private var current: Storage?
  private var waiting: [ShardTree.Node] = []
  private var sums: [Storage] = []
  private var spare: [Storage] = []
  private let meter: ByteMeter?
  private let workers: Workers
  private var allocated = 0

  /// - Parameters:
  ///   - count: elements of a vector.
  ///   - workers: share the elements of a sum.
  init(
    _ tree: ShardTree, count: Int, _ communicator: Communicator?, meter: ByteMeter? = nil, workers: Workers = Workers(threads: 1)
  ) {
    self.tree = tree
    self.count = count
    self.communicator = communicator
    self.meter = meter
    self.workers = workers
    leaves = tree.leaves(ofRank: communicator?.rank ?? 0, of: communicator?.size ?? 1)
  }

  deinit { meter?.add(-allocated) }

  private var byteCount: Int { max(1, count) * MemoryLayout<Double>.stride }

  /// Batches come in rising order. `body` adds the batch's vector.
  func add(batch: Int, _ body: (UnsafeMutablePointer<Double>) throws(CetError) -> Void) throws(CetError) {
    try add(batch: batch) { sum, isNew throws(CetError) in
      if isNew { memset(sum, 0, byteCount) }
      try body(sum)
    }
  }

  /// Batches come in rising order. `body` adds the batch's vector; where the sum is new, it fills its memory with the vector,
  /// added to 0.
  func add(batch: Int, _ body: (_ sum: UnsafeMutablePointer<Double>, _ isNew: Bool) throws(CetError) -> Void) throws(CetError) {
    let found = tree.leaf(ofBatch: batch)
    if let leaf, leaf != found { try close(leaf) }
    leaf = found
    let isNew = current == nil
    let sum = try (current ?? spare.popLast()).or(allocate())
    current = sum
    try withExtendedLifetime(sum) { () throws(CetError) in try body(ShardedSum.doubles(sum), isNew) }
  }

  /// Adds up what is here, as far as it makes whole subtrees. The exchange then fails on all processes or on none.
  func close() throws(CetError) {
    if let leaf { try close(leaf) }
    leaf = nil
    guard let communicator else { return }
    let needed = tree.exchangeSums(ofRank: communicator.rank, of: communicator.size, waiting: waiting.count)
    while sums.count + spare.count < needed { spare.append(try allocate()) }
  }

  private func close(_ leaf: Int) throws(CetError) {
    guard let sum = current else { return }
    current = nil
    waiting.append(ShardTree.Node(lower: leaf, upper: leaf + 1))
    sums.append(sum)
    let next = tree.nextLeaf(after: leaf, in: leaves)
    while let node = tree.complete(waiting, before: next, in: leaves) {
      waiting.removeLast(2)
      waiting.append(node)
      let right = sums.removeLast()
      try add(right, to: sums[sums.count - 1])
      spare.append(right)
    }
  }

  /// The sum over all processes, after `close`.
  func total() throws(CetError) -> Storage {
    switch try value(.root) {
    case .nowhere: return try zeros()
    case .everywhere(let sum): return sum
    case .at(let rank): return try exchange([rank])
    }
  }

  /// Takes the whole sum back; another may begin in the same memory.
  func reuse(_ total: Storage) {
    spare.append(total)
    spare += sums
    sums = []
    waiting = []
  }

  private enum Place {
    case nowhere
    /// With one process, which keeps it in `sums` until it is exchanged.
    case at(Int)
    case everywhere(Storage)
  }

  private func value(_ node: ShardTree.Node) throws(CetError) -> Place {
    guard !tree.isEmpty(node) else { return .nowhere }
    guard let communicator else { return sums.popLast().map { .everywhere($0) } ?? .nowhere }
    if let rank = tree.rank(holding: node, of: communicator.size) { return .at(rank) }
    let (left, right) = node.children
    switch (try value(left), try value(right)) {
    case (.nowhere, let other), (let other, .nowhere): return other
    case (.everywhere(let a), .everywhere(let b)):
      try add(b, to: a)
      spare.append(b)
      return .everywhere(a)
    case (.at(let a), .at(let b)) where a == b:
      if a == communicator.rank { try mergeLastTwo(under: node) }
      return .at(a)
    case (.at(let a), .at(let b)): return .everywhere(try exchange([a, b], under: node))
    case (.at(let a), .everywhere(let b)), (.everywhere(let b), .at(let a)):
      let sum = try exchange([a], under: node)
      try add(b, to: sum)
      spare.append(b)
      return .everywhere(sum)
    }
  }

  /// One allreduce in which these processes give their sum and all others zeros: two numbers are added the same way
  /// by any engine. No sum is −0, since each starts at 0.
  private func exchange(_ ranks: [Int], under node: ShardTree.Node = .root) throws(CetError) -> Storage {
    guard let communicator else { throw CetError(.internal, "an exchange without a communicator") }
    let sum: Storage
    if ranks.contains(communicator.rank), let place = waiting.firstIndex(where: { node.lower <= $0.lower && $0.upper <= node.upper }) {
      sum = sums.remove(at: place)
      waiting.remove(at: place)
    } else {
      sum = try zeros()
    }
    try communicator.add(ShardedSum.doubles(sum), count: count)
    return sum
  }

  private func mergeLastTwo(under node: ShardTree.Node) throws(CetError) {
    let places = waiting.indices.filter { node.lower <= waiting[$0].lower && waiting[$0].upper <= node.upper }
    guard places.count == 2 else { return }
    try add(sums[places[1]], to: sums[places[0]])
    spare.append(sums.remove(at: places[1]))
    waiting.remove(at: places[1])
  }

  private func add(_ b: Storage, to a: Storage) throws(CetError) {
    let (x, y) = (ShardedSum.doubles(a), ShardedSum.doubles(b))
    try workers.split(count) { Elementwise.accumulate(y + $0.lowerBound, into: x + $0.lowerBound, count: $0.count) }
  }

  private func zeros() throws(CetError) -> Storage {
    let storage = try spare.popLast().or(allocate())
    memset(storage.pointer, 0, byteCount)
    return storage
  }

  private func allocate() throws(CetError) -> Storage {
    let storage = try Storage(byteCount: byteCount)
    allocated += byteCount
    meter?.add(byteCount)
    return storage
  }

  static func doubles(_ storage: Storage) -> UnsafeMutablePointer<Double> {
    storage.pointer.assumingMemoryBound(to: Double.self)
  }
}

/// Bytes that are held now and were held at most.
public final class ByteMeter: @unchecked Sendable {
  private let lock = Lock()
  private var held = 0
  private var most = 0

  public init() {}

  public func add(_ bytes: Int) {
    lock.withLock {
      held += bytes
      most = max(most, held)
    }
  }

  public var peak: Int { lock.withLock { most } }
}
