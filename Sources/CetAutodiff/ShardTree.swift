/// The order in which batches are added up: the same for any number of threads and of processes.
///
/// All batches of the calibration, whoever holds them, are cut into 16 runs of equal length, some of them empty when
/// there are fewer. Within a run batches are added one after the other; runs are added in pairs, pairs in pairs, and
/// so on. A process holds whole runs, so that what it adds by itself is part of the same tree.
public struct ShardTree: Sendable {
  public static let leafCount = 16

  /// Of all processes.
  public let batchCount: Int

  public init(batchCount: Int) { self.batchCount = batchCount }

  /// Leaves below `upper`, from `lower` on: a whole tree or a subtree of it.
  struct Node: Hashable {
    let lower: Int
    let upper: Int
    static let root = Node(lower: 0, upper: leafCount)

    var children: (Node, Node) {
      let middle = (lower + upper) / 2
      return (Node(lower: lower, upper: middle), Node(lower: middle, upper: upper))
    }
  }

  /// Leaves of one of `size` processes. With at least as many batches as processes each has some.
  func leaves(ofRank rank: Int, of size: Int) -> Range<Int> {
    firstLeaf(ofRank: rank, of: size)..<firstLeaf(ofRank: rank + 1, of: size)
  }

  /// Equal numbers of leaves, unless that would leave a process without batches: then equal numbers of batches, each of
  /// which is a leaf of its own.
  private func firstLeaf(ofRank rank: Int, of size: Int) -> Int {
    func even(_ rank: Int) -> Int { ShardTree.leafCount * rank / size }
    let isIdle = (0..<size).contains { firstBatch(ofLeaf: even($0)) == firstBatch(ofLeaf: even($0 + 1)) }
    return isIdle && rank > 0 && rank < size ? leaf(ofBatch: batchCount * rank / size) : even(rank)
  }

  /// The process that has all leaves of a subtree; nil when several have.
  func rank(holding node: Node, of size: Int) -> Int? {
    (0..<size).first {
      let leaves = leaves(ofRank: $0, of: size)
      return leaves.lowerBound <= node.lower && node.upper <= leaves.upperBound
    }
  }

  /// ⌈batchCount·leaf / 16⌉, without overflow.
  func firstBatch(ofLeaf leaf: Int) -> Int {
    let (whole, rest) = batchCount.quotientAndRemainder(dividingBy: ShardTree.leafCount)
    return whole * leaf + (rest * leaf + ShardTree.leafCount - 1) / ShardTree.leafCount
  }

  /// Batches of one of `size` processes.
  public func batches(ofRank rank: Int, of size: Int) -> Range<Int> {
    let leaves = leaves(ofRank: rank, of: size)
    return firstBatch(ofLeaf: leaves.lowerBound)..<firstBatch(ofLeaf: leaves.upperBound)
  }

  func isEmpty(_ node: Node) -> Bool { firstBatch(ofLeaf: node.lower) == firstBatch(ofLeaf: node.upper) }

  func leaf(ofBatch batch: Int) -> Int {
    var leaf = 0
    while leaf + 1 < ShardTree.leafCount, firstBatch(ofLeaf: leaf + 1) <= batch { leaf += 1 }
    return leaf
  }

  /// The smallest subtree that holds both.
  static func join(_ a: Node, _ b: Node) -> Node {
    var width = 1
    while a.lower / width != (b.upper - 1) / width { width *= 2 }
    return Node(lower: a.lower / width * width, upper: a.lower / width * width + width)
  }

  /// Sums that a process has at a time: subtrees that wait for their neighbour, and the run that it is at; then, with
  /// several processes, those of the exchange.
  func liveSums(ofRank rank: Int, of size: Int) -> Int {
    let range = leaves(ofRank: rank, of: size)
    var waiting: [Node] = []
    var most = 1
    for leaf in range where !isEmpty(Node(lower: leaf, upper: leaf + 1)) {
      most = max(most, waiting.count + 1)
      waiting.append(Node(lower: leaf, upper: leaf + 1))
      let next = nextLeaf(after: leaf, in: range)
      while let node = complete(waiting, before: next, in: range) {
        waiting.removeLast(2)
        waiting.append(node)
      }
    }
    return max(most, exchangeSums(ofRank: rank, of: size, waiting: waiting.count))
  }

  /// Where the sum of a subtree is to be had.
  enum Place {
    case nowhere
    /// With one process.
    case at(Int)
    case everywhere
  }

  /// Sums that a process has at a time while `waiting` subtrees of its own become part of the whole.
  func exchangeSums(ofRank rank: Int, of size: Int, waiting: Int) -> Int {
    var held = waiting
    var most = max(1, waiting)
    func exchange(_ ranks: [Int]) -> Place {
      if !ranks.contains(rank) { held += 1 }
      most = max(most, held)
      return .everywhere
    }
    func place(_ node: Node) -> Place {
      guard !isEmpty(node) else { return .nowhere }
      if let holder = self.rank(holding: node, of: size) { return size == 1 ? .everywhere : .at(holder) }
      let (left, right) = node.children
      switch (place(left), place(right)) {
      case (.nowhere, let other), (let other, .nowhere): return other
      case (.at(let a), .at(let b)) where a == b:
        if a == rank { held -= 1 }
        return .at(a)
      case (.at(let a), .at(let b)): return exchange([a, b])
      case (.at(let a), .everywhere), (.everywhere, .at(let a)): _ = exchange([a])
      case (.everywhere, .everywhere): break
      }
      held -= 1
      return .everywhere
    }
    if case .at(let holder) = place(.root) { _ = exchange([holder]) }
    return most
  }

  /// The next leaf with batches; the end of the range when there is none.
  func nextLeaf(after leaf: Int, in range: Range<Int>) -> Int {
    (leaf + 1..<max(leaf + 1, range.upperBound)).first { !isEmpty(Node(lower: $0, upper: $0 + 1)) } ?? range.upperBound
  }

  /// The subtree of the last two that wait, when all of it is there.
  func complete(_ waiting: [Node], before leaf: Int, in range: Range<Int>) -> Node? {
    guard waiting.count >= 2 else { return nil }
    let node = ShardTree.join(waiting[waiting.count - 2], waiting[waiting.count - 1])
    return node.lower >= range.lowerBound && node.upper <= range.upperBound && node.upper <= leaf ? node : nil
  }
}
