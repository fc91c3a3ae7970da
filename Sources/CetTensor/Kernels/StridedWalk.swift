/// The common index space of several operands, reduced to as few axes as their strides allow. Broadcasting,
/// transposition, slicing and reduction are all walks with different strides.
public struct StridedWalk {
  /// Sizes, outermost first; never empty. The last one is the row.
  public let extents: [Int]
  /// Per operand, strides in elements for `extents`.
  public let strides: [[Int]]
  public let isEmpty: Bool

  /// - Parameters:
  ///   - extents: sizes of the index space, outermost first, in the order in which it shall be walked.
  ///   - strides: per operand, the stride of every axis.
  public init(extents: [Int], strides: [[Int]]) {
    var sizes: [Int] = []
    var steps = [[Int]](repeating: [], count: strides.count)
    for axis in extents.indices where extents[axis] != 1 {
      let size = extents[axis]
      if let last = sizes.last, strides.indices.allSatisfy({ steps[$0][steps[$0].count - 1] == strides[$0][axis] * size }) {
        sizes[sizes.count - 1] = last * size
        for operand in strides.indices { steps[operand][steps[operand].count - 1] = strides[operand][axis] }
      } else {
        sizes.append(size)
        for operand in strides.indices { steps[operand].append(strides[operand][axis]) }
      }
    }
    if sizes.isEmpty {
      sizes = [1]
      steps = steps.map { _ in [0] }
    }
    self.extents = sizes
    self.strides = steps
    isEmpty = extents.contains(0)
  }

  /// Stride of an operand along the row.
  public func rowStride(_ operand: Int) -> Int { strides[operand][extents.count - 1] }
  public var rowCount: Int { extents[extents.count - 1] }

  /// Calls `body` with the operands' element offsets of every row and its length, in order. Long rows come in pieces.
  ///
  /// One function for every `body`: a call costs a row little, and a copy for each of some hundred bodies costs the library much.
  @inline(never)
  public func forEachRow(_ context: ComputeContext, _ body: (UnsafePointer<Int>, Int) -> Void) throws(CetError) {
    guard !isEmpty else { return }
    let outer = extents.count - 1
    let operands = strides.count
    var failure: CetError?
    var left = ComputeContext.pieceSize
    withUnsafeTemporaryAllocation(of: Int.self, capacity: operands + outer + 1) { scratch in
      scratch.initialize(repeating: 0)
      guard let offsets = scratch.baseAddress else { return }
      let index = offsets + operands
      while true {
        if rowCount <= ComputeContext.pieceSize {
          body(offsets, rowCount)
          left -= rowCount
        } else {
          do throws(CetError) {
            try context.pieces(rowCount) { piece in
              body(offsets, piece.count)
              for operand in 0..<operands { offsets[operand] += piece.count * strides[operand][outer] }
            }
          } catch {
            failure = error
            return
          }
          for operand in 0..<operands { offsets[operand] -= rowCount * strides[operand][outer] }
        }
        if left < 0 {
          left = ComputeContext.pieceSize
          do throws(CetError) { try context.interruption.check() } catch {
            failure = error
            return
          }
        }
        var axis = outer - 1
        while axis >= 0 {
          index[axis] += 1
          if index[axis] < extents[axis] {
            for operand in 0..<operands { offsets[operand] += strides[operand][axis] }
            break
          }
          index[axis] = 0
          for operand in 0..<operands { offsets[operand] -= strides[operand][axis] * (extents[axis] - 1) }
          axis -= 1
        }
        if axis < 0 { return }
      }
    }
    if let failure { throw failure }
  }
}

extension Tensor {
  /// Strides for each axis of `target`, to which the tensor broadcasts (0 where it is repeated).
  public func broadcastStrides(to target: [Int]) -> [Int] {
    let own = strides
    let lead = target.count - rank
    return target.indices.map { axis in
      axis < lead || shape[axis - lead] == 1 ? 0 : own[axis - lead]
    }
  }
}

/// The order in which the axes of a tensor of this rank and layout lie in memory, outermost first.
public func storageOrder(rank: Int, layout: Layout) -> [Int] {
  layout == .rowMajor || rank < 3 ? Array(0..<rank) : [0] + Array(2..<rank) + [1]
}

extension Array where Element == Int {
  func permuted(_ order: [Int]) -> [Int] { order.map { self[$0] } }
}
