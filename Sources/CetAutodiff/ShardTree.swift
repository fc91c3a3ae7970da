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

  /// Leaves of one of `size` processes.
  static func leaves(ofRank rank: Int, of size: Int) -> Range<Int> {
    leafCount * rank / size..<leafCount * (rank + 1) / size
  }

  /// ⌈batchCount·leaf / 16⌉, without overflow.
  func firstBatch(ofLeaf leaf: Int) -> Int {
    let (whole, rest) = batchCount.quotientAndRemainder(dividingBy: ShardTree.leafCount)
    return whole * leaf + (rest * leaf + ShardTree.leafCount - 1) / ShardTree.leafCount
  }

  /// Batches of one of `size` processes.
  public func batches(ofRank rank: Int, of size: Int) -> Range<Int> {
    let leaves = ShardTree.leaves(ofRank: rank, of: size)
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

  /// Sums that a process has at a time: subtrees that wait for their neighbour, and the run that it is at.
  func liveSums(ofRank rank: Int, of size: Int) -> Int {
    let range = ShardTree.leaves(ofRank: rank, of: size)
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
    // The exchange with other processes takes one more.
    return size == 1 ? most : max(most, waiting.count + 1)
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
