/// Kernels look up from their work: a call that is to end does so within a part of a second, however large a tensor is.
/// Where it is cut depends on sizes alone, so that results do not depend on who asks.
extension ComputeContext {
  /// Elements that are gone through between two looks: some tens of milliseconds at most.
  public static let pieceSize = 1 << 22

  /// Multiplications of a matrix product between two looks: half a second on a slow processor.
  static let productSize = 1 << 34

  /// Goes through 0 ..< count in pieces.
  /// - Parameter size: elements of a piece.
  @inline(__always)
  public func pieces(
    _ count: Int, of size: Int = ComputeContext.pieceSize, _ body: (Range<Int>) throws(CetError) -> Void
  ) throws(CetError) {
    var first = 0
    while first < count {
      let end = count - first > size ? first + size : count
      try body(first..<end)
      first = end
      if first < count { try interruption.check() }
    }
  }

  /// The same for entries that are as much work as `work` elements each.
  @inline(__always)
  public func pieces(
    _ count: Int, eachOf work: Int, _ body: (Range<Int>) throws(CetError) -> Void
  ) throws(CetError) {
    try pieces(count, of: max(1, ComputeContext.pieceSize / max(1, work)), body)
  }
}
